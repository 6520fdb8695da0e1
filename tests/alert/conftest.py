"""A town for each test, with its state in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.alert.town import Town, swift_folder


@pytest.fixture
def town() -> Iterator[Town]:
    with swift_folder() as folder:
        yield Town(folder)
