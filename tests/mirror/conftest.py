"""One installation with an archive for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mirror.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Nothing kept yet, no mirror."""
    return Rig(tmp_path / "here")
