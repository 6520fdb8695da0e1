"""Configured mirrors as a source: what our own archive has not, read without writing there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nbguard import app_history
from nbguard.cli.context import Context
from nbguard.executed import Confidence
from tests.cli.test_history import cell, link
from tests.helpers import Answer, nbguard, notebook_bytes

Ask = Callable[..., Answer]


@pytest.fixture
def mirrored(home: Path, work: Path) -> Path:
    """A mirror that holds a notebook, its installation, and an executed cell."""
    (work / "eda.ipynb").write_bytes(notebook_bytes("only_in_the_mirror = 1"))
    assert nbguard("run", "--watch", str(work), "--once").code == 0
    log = app_history.record_log_of(Context.from_environment(None))
    log.append([cell(1, "ran_and_mirrored()"), link(str(work / "eda.ipynb"), Confidence.EXACT)])
    log.seal()
    assert nbguard("run", "--once").code == 0
    folder = home.parent / f"{home.name}-disk" / "mirror.git"
    folder.parent.mkdir()
    added = nbguard("mirror", "add", str(folder), "--yes")
    assert added.code == 0, added.talk
    assert nbguard("mirror", "sync").code == 0
    return folder


def _state(folder: Path) -> list[tuple[str, int, int]]:
    found = []
    for where, _, names in os.walk(folder):
        for name in names:
            status = os.stat(os.path.join(where, name))
            found.append((os.path.join(where, name), status.st_size, status.st_mtime_ns))
    return sorted(found)


@pytest.mark.parametrize("is_fetched", [False, True], ids=["read where it lies", "fetched"])
def test_a_mirror_gives_what_the_archive_has_lost_and_nothing_twice(
    home: Path, work: Path, rescue: Ask, mirrored: Path, *, is_fetched: bool
) -> None:
    if is_fetched:  # a file that says where the repository is: only git finds it
        elsewhere = mirrored.rename(mirrored.with_name("elsewhere"))
        mirrored.write_text(f"gitdir: {elsewhere}\n")
        mirrored = elsewhere
    before = _state(mirrored)
    whole = rescue("eda.ipynb")
    assert "mirror" not in {row["source"] for row in whole.json["found"]}, "the archive has it all"
    (work / "eda.ipynb").unlink()
    shutil.rmtree(home / ".nbguard" / "archive.git")
    shutil.rmtree(home / ".nbguard" / "spool")
    answer = rescue("eda.ipynb", "-o", str(home / "rescued"))
    rows = [row for row in answer.json["found"] if row["source"] == "mirror"]
    assert [(row["path"], row["confidence"]) for row in rows if row["cells"] == 1 and "eda" in row["path"]] == [
        (str(work / "eda.ipynb"), "exact")
    ], answer.out
    rebuilt = (home / "rescued" / "eda.rebuilt.ipynb").read_text()
    assert "only_in_the_mirror" in rebuilt and "ran_and_mirrored" in rebuilt
    assert not [row for row in answer.json["unavailable"] if row["source"] == "mirror"]
    assert _state(mirrored) == before
    assert not list(Path(os.environ["TMPDIR"]).glob("nbguard-rescue-*")), "nothing is left behind"


def test_a_mirror_that_cannot_be_reached_is_named_with_the_reason(work: Path, rescue: Ask, mirrored: Path) -> None:
    mirrored.rename(mirrored.with_name("unplugged"))
    answer = rescue("eda.ipynb")
    assert answer.code == 3
    (row,) = [row for row in answer.json["unavailable"] if row["source"] == "mirror"]
    assert str(mirrored) in row["reason"]
    assert answer.json["found"], "the other sources are used"
