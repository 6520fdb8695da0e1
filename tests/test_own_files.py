"""Small files of our own that hold garbage: a new one is made, or they count as not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbguard.places import find_places
from tests.helpers import nbguard, notebook_bytes


@pytest.mark.parametrize("name", ["install-id", "archive-made", "heartbeat.json", "restores.jsonl"])
@pytest.mark.parametrize("garbage", [b"", b"\xff\xfe\x00/../.."])
def test_garbage_stops_no_command(home: Path, name: str, garbage: bytes) -> None:
    work = home / "work"
    work.mkdir()
    (work / "a.ipynb").write_bytes(notebook_bytes("a"))
    assert nbguard("run", "--once", "--watch", str(work)).code == 0
    (Path(find_places(home=os.environ["NBGUARD_HOME"]).state) / name).write_bytes(garbage)
    (work / "a.ipynb").write_bytes(notebook_bytes("b"))
    for command in (["run", "--once"], ["status", "--json"], ["snapshot", str(work)]):
        answer = nbguard(*command)
        assert answer.code == 0, (command, answer.talk)
    assert nbguard("show", "a.ipynb").out == notebook_bytes("b").decode()


@pytest.mark.parametrize("garbage", [b"", b"\xff\xfe", b"../../../root\n"])
def test_garbage_for_an_id_is_no_part_of_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, garbage: bytes
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    marker = Path(find_places(home=None).archive_marker)
    marker.parent.mkdir(parents=True)
    marker.write_bytes(garbage)
    assert find_places(home=None).emergency.endswith("-new")
