"""What every test of the archive leaves behind is closed."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.archive.rig import OPENED


@pytest.fixture(autouse=True)
def close_catalogs() -> Generator[None]:
    """Catalogs that a rig opened."""
    yield
    while OPENED:
        OPENED.pop().close()
