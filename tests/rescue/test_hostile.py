"""What permissions, sizes and contents do: named, passed over, and nothing lost or believed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nbguard.cli.rescue_listing import age
from nbguard.executed import Confidence
from nbguard.rescue.findings import File, Finding, SourceName, Wanted
from nbguard.rescue.matching import candidates, fit, in_order, settle
from nbguard.rescue.writing import Output, safe_name
from tests.helpers import Answer, nbguard, notebook_bytes
from tests.powers import without_root_powers
from tests.rescue.conftest import put

Ask = Callable[..., Answer]


def test_what_may_not_be_read_is_named_and_the_rest_is_given(home: Path, work: Path, rescue: Ask) -> None:
    """A folder, a file in the trash, a database: three reasons, exit code 3."""
    put(work / ".ipynb_checkpoints" / "lost-checkpoint.ipynb", notebook_bytes("x = 1"))
    shut = home / "shut"
    shut.mkdir(mode=0)
    trash = home / ".local" / "share" / "Trash"
    put(trash / "info" / "lost.ipynb.trashinfo", f"[Trash Info]\nPath={work}/lost.ipynb\n".encode())
    put(trash / "files" / "lost.ipynb", notebook_bytes("y = 1")).chmod(0)
    put(home / ".ipython" / "profile_default" / "history.sqlite", b"SQLite format 3\0").chmod(0)
    try:
        with without_root_powers():
            answer = rescue("lost.ipynb", "-o", "out")
    finally:
        shut.chmod(0o700)
    assert answer.code == 3 and json.loads(answer.talk)["code"] == "partly-done"
    reasons = {each["source"]: each["reason"] for each in answer.json["unavailable"]}
    assert set(reasons) == {"checkpoint", "trash", "history"}
    assert str(shut) in reasons["checkpoint"] and "ermission denied" in reasons["trash"]
    assert [each["source"] for each in answer.json["found"]] == ["checkpoint"]
    assert answer.json["rebuilt"]["notebook"]


def test_an_output_folder_that_cannot_be_written_is_an_error_with_a_hint(work: Path, rescue: Ask) -> None:
    """A file, a link, a folder without permission."""
    put(work / ".ipynb_checkpoints" / "lost-checkpoint.ipynb", notebook_bytes("x = 1"))
    put(work / "file", b"mine")
    (work / "link").symlink_to(work)
    (work / "shut").mkdir(mode=0o500)
    for place in ("file", "link", "shut"):
        with without_root_powers():
            answer = rescue("lost.ipynb", "-o", place)
        assert answer.code == 1 and json.loads(answer.talk)["hint"]
    assert (work / "file").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "name",
    [
        b"lo\xffst.ipynb",
        b"new\nline.ipynb",
        b"\x1b[31mred.ipynb",
        b"n" * 240 + b".ipynb",
        "名前 'x' \"y\".ipynb".encode(),
    ],
)
def test_any_name_is_found_written_and_shown_safely(work: Path, rescue: Ask, name: bytes) -> None:
    """Bytes that are no UTF-8, controls, and the longest there are."""
    text = os.fsdecode(name)
    put(work / (text + "~"), data := notebook_bytes("x = 1"))
    answer = rescue("-o", "out", "--", text)
    (only,) = answer.json["found"]
    assert Path(only["written_to"]).read_bytes() == data
    assert Path(answer.json["rebuilt"]["notebook"]).is_file()
    shown = nbguard("rescue", text, cwd=work)
    assert shown.code == 0 and "\x1b" not in shown.out + shown.talk


def test_hostile_contents_are_kept_as_they_are_and_never_merged(work: Path, rescue: Ask) -> None:
    """Torn, empty, no notebook, too deep: each is listed as what it is."""
    whole = notebook_bytes("x = 1")
    put(work / ".~lost.ipynb", whole[: len(whole) // 2])
    put(work / "lost.ipynb~", b"[" * 100_000)
    put(work / "lost.ipynb.invalid", b'{"cells": 5}')
    put(work / ".ipynb_checkpoints" / "lost-checkpoint.ipynb", b"")
    answer = rescue("lost.ipynb", "-o", "out")
    assert [(each["source"], each["cells"]) for each in answer.json["found"]] == [("pre-save", None)] * 3
    assert all(Path(each["written_to"]).stat().st_size == each["bytes"] for each in answer.json["found"])
    assert answer.json["rebuilt"] == {"notebook": None, "log": None}


def test_hostile_listings_lead_nowhere(home: Path, work: Path, rescue: Ask) -> None:
    """An editor's list that points outside, a trash entry that climbs, a configuration that would have to be run."""
    secret = put(home / "secret.ipynb", notebook_bytes("secret = 1"))
    history = home / ".config" / "Code" / "User" / "History" / "1"
    entries = [
        {"id": "../../../../../secret.ipynb"},
        {"id": ".."},
        {"id": 5},
        "x",
        {"id": "gone.ipynb", "timestamp": 1e300},
    ]
    put(history / "entries.json", json.dumps({"resource": f"file://{work}/lost.ipynb", "entries": entries}).encode())
    put(history.parent / "2" / "entries.json", b"[" * 50_000)
    trash = home / ".local" / "share" / "Trash"
    (trash / "files").mkdir(parents=True)
    (trash / "files" / "lost.ipynb").symlink_to(secret)
    put(trash / "info" / "lost.ipynb.trashinfo", b"[Trash Info]\nPath=../../%00\n")
    put(home / ".jupyter" / "jupyter_server_config.py", b"import os\nc.FileCheckpoints.checkpoint_dir = os.getcwd()\n")
    answer = rescue("lost.ipynb")
    assert answer.json["found"] == [] and answer.code == 1
    assert sorted(each["source"] for each in answer.json["unavailable"]) == ["checkpoint", "vscode"]


@pytest.mark.parametrize("folders", [100, pytest.param(1_000, marks=pytest.mark.long)])
def test_many_files_take_bounded_time_and_show_progress(home: Path, folders: int) -> None:
    """A hundred thousand files in the long run; and a search that is told to end early says so."""
    from nbguard.app_rescue import _UsualSkips
    from nbguard.rescue.survey import Search, survey

    for number in range(folders):
        folder = home / "many" / str(number)
        folder.mkdir(parents=True)
        for entry in range(100):
            os.close(os.open(folder / f"f{entry}", os.O_CREAT | os.O_WRONLY))
    began, told = time.monotonic(), list[int]()
    whole = survey(
        Search(folders=(str(home),), skips=_UsualSkips), time.monotonic, lambda done, total: told.append(done)
    )
    assert whole.entries >= 100 * folders and not whole.stopped and told[-1] >= 100 * folders
    assert time.monotonic() - began < 60
    early = survey(
        Search(folders=(str(home),), skips=_UsualSkips, most_entries=1_000), time.monotonic, lambda done, total: None
    )
    assert "--under" in early.stopped


def test_an_existing_file_keeps_its_name_and_its_bytes(tmp_path: Path) -> None:
    """Also when it is a link to somewhere else; equal bytes are written once."""
    output = Output(str(tmp_path / "out"))
    output.prepare()
    put(tmp_path / "out" / "found" / "x.ipynb", b"mine")
    (tmp_path / "out" / "found" / "x (2).ipynb").symlink_to(tmp_path / "elsewhere")
    written = output.write("found", "x.ipynb", b"ours")
    assert written.endswith("x (3).ipynb") and output.write("found", "y.ipynb", b"ours") == written
    assert not (tmp_path / "elsewhere").exists()
    assert (tmp_path / "out" / "found" / "x.ipynb").read_bytes() == b"mine"


def test_names_are_made_safe() -> None:
    """Nothing hidden, nothing above, nothing too long."""
    for text in ("../../etc/passwd", ".hidden", "a\0b", "x" * 300, "\udcff\ud800", "", "ä" * 100):
        name = safe_name(text)
        assert name and not name.startswith(".") and "/" not in name and "\0" not in name
        assert len(name.encode("utf-8")) <= 80


def finding(notebook: str | None, confidence: Confidence, *, day: int = 1, cells: int = 1) -> Finding:
    return Finding(
        source=SourceName.CHECKPOINT,
        path=f"{notebook}-{day}",
        time=datetime(2026, 1, day, tzinfo=UTC),
        size=1,
        cells=cells,
        notebook=notebook,
        confidence=confidence,
        content=File(lambda: b""),
    )


@pytest.mark.parametrize(
    ("notebook", "confidence"),
    [
        ("/home/a/w/x.ipynb", Confidence.EXACT),
        ("/real/w/x.ipynb", Confidence.EXACT),
        ("/other/x.ipynb", Confidence.PROBABLE),
        ("x.ipynb", Confidence.PROBABLE),
        ("w/x.ipynb", Confidence.PROBABLE),
        ("v/x.ipynb", None),
        ("/other/ax.ipynb", None),
        ("ax.ipynb", None),
    ],
)
def test_a_path_fits_as_a_table_says(notebook: str, confidence: Confidence | None) -> None:
    """What was typed in /home/a/w, which is a link to /real/w: x.ipynb."""
    wanted = Wanted(paths=("/home/a/w/x.ipynb", "/real/w/x.ipynb"), tail="x.ipynb")
    assert fit(wanted, notebook) is confidence
    assert fit(Wanted(), notebook) is Confidence.EXACT


def test_the_very_one_makes_others_of_its_name_ambiguous() -> None:
    """One other alone is what was meant; two, or one beside the very one, are not."""
    wanted = Wanted(paths=("/a/x.ipynb",), tail="x.ipynb")
    very, one, two = (finding(path, confidence) for path, confidence in _CASES)
    assert [each.confidence for each in settle([one], wanted)] == [Confidence.PROBABLE]
    assert [each.confidence for each in settle([very, one], wanted)] == [Confidence.EXACT, Confidence.AMBIGUOUS]
    both = settle([one, two], wanted)
    assert [each.confidence for each in both] == [Confidence.AMBIGUOUS] * 2
    assert candidates(both) == ["/b/x.ipynb", "/c/x.ipynb"] and candidates(settle([very, one], wanted)) == []


_CASES = [
    ("/a/x.ipynb", Confidence.EXACT),
    ("/b/x.ipynb", Confidence.PROBABLE),
    ("/c/x.ipynb", Confidence.PROBABLE),
]


def test_the_newest_and_fullest_comes_first() -> None:
    """And what may be of another notebook comes last."""
    old, new = finding("a", Confidence.PROBABLE, day=1, cells=9), finding("b", Confidence.EXACT, day=2)
    fuller, unsure = finding("c", Confidence.EXACT, day=2, cells=5), finding("d", Confidence.AMBIGUOUS, day=9)
    assert in_order([unsure, old, new, fuller]) == [fuller, new, old, unsure]


def test_ages_are_said_in_one_unit() -> None:
    """As people say them."""
    now = datetime(2026, 1, 10, tzinfo=UTC)
    said = [age(datetime(2026, 1, day, hour, minute, tzinfo=UTC), now) for day, hour, minute in _TIMES]
    assert said == ["9 days ago", "1 day ago", "23 hours ago", "5 minutes ago", "just now", "in the future"]
    assert age(None, now) == "?"


_TIMES = [(1, 0, 0), (9, 0, 0), (9, 1, 0), (9, 23, 55), (10, 0, 0), (11, 0, 0)]
