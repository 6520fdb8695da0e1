"""What every test of the archive leaves behind is closed."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from hypothesis import settings

from tests.archive.rig import OPENED

# Two busy cores: how long one example takes says nothing.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def close_catalogs() -> Generator[None]:
    """Catalogs that a rig opened."""
    yield
    while OPENED:
        OPENED.pop().close()
