"""Sources that are files: each is found by its own naming, of the notebook that it is of and of no other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import Answer, nbguard, notebook_bytes
from tests.rescue.conftest import put

Ask = Callable[..., Answer]


def found(answer: Answer) -> list[tuple[str, str, str]]:
    return [(each["source"], each["path"], each["confidence"]) for each in answer.json["found"]]


def test_without_any_setup_a_checkpoint_is_found(work: Path, rescue: Ask) -> None:
    """There is no archive, no configuration and no daemon; and none is made by asking."""
    checkpoint = put(work / ".ipynb_checkpoints" / "lost-checkpoint.ipynb", notebook_bytes("a = 1", "b = 2"))
    answer = rescue("lost.ipynb")
    assert answer.code == 0, answer.talk
    (only,) = answer.json["found"]
    assert only["source"] == "checkpoint" and only["path"] == str(checkpoint)
    assert only["cells"] == 2 and only["bytes"] == checkpoint.stat().st_size
    assert only["time"] == "2023-11-14T22:13:20.000000Z" and only["confidence"] == "exact"
    assert only["written_to"] is None and answer.json["rebuilt"] == {"notebook": None, "log": None}
    assert answer.json["unavailable"] == []
    assert not Path(os.environ["NBGUARD_HOME"]).exists()


@pytest.mark.parametrize("name", [".~lost.ipynb", "lost.ipynb~", "lost.ipynb.invalid"])
def test_copies_that_writers_leave_are_found(work: Path, rescue: Ask, name: str) -> None:
    """Jupyter's copy before a save, vim's backup, and what Jupyter moves aside."""
    path = put(work / name, notebook_bytes("x = 1"))
    assert found(rescue("lost")) == [("pre-save", str(path), "exact")]


def test_the_trash_is_read_by_what_its_info_says(home: Path, work: Path, rescue: Ask) -> None:
    """The name in the trash is another one; the path is percent-encoded, and a folder was thrown away whole."""
    trash = home / ".local" / "share" / "Trash"
    one = put(trash / "files" / "lost.2.ipynb", notebook_bytes("x = 1"), seconds=1_700_000_300)
    put(trash / "info" / "lost.2.ipynb.trashinfo", _info(f"{work}/sub%20dir/lost.ipynb"))
    two = put(trash / "files" / "deep" / "lost.ipynb", notebook_bytes("x = 2"))
    put(trash / "info" / "deep.trashinfo", _info(f"{work}/deep"))
    assert found(rescue("sub dir/lost.ipynb")) == [("trash", str(one), "exact")]
    assert found(rescue("deep/lost.ipynb")) == [("trash", str(two), "exact")]


def test_what_jupyter_throws_away_is_found(home: Path, work: Path, rescue: Ask) -> None:
    """send2trash is what Jupyter deletes with."""
    pytest.importorskip("send2trash")
    path = put(work / "löst %41 file.ipynb", notebook_bytes("x = 1"))
    # In a process of its own: the trash is chosen when it is imported, and this process may have had another home then.
    script = "import sys; from send2trash import send2trash; send2trash(sys.argv[1])"
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    assert not path.exists()
    (only,) = rescue("löst %41 file.ipynb").json["found"]
    assert only["source"] == "trash" and only["confidence"] == "exact"


def test_local_history_of_vs_code_is_found(home: Path, rescue: Ask, work: Path) -> None:
    """The newest state first; and an editor's backup of what was not saved yet."""
    history = home / ".config" / "VSCodium" / "User" / "History" / "-1f2e"
    put(history / "aaaa.ipynb", notebook_bytes("x = 1"))
    put(history / "bbbb.ipynb", notebook_bytes("x = 1", "y = 2"))
    entries = [
        {"id": "aaaa.ipynb", "timestamp": 1_600_000_000_000},
        {"id": "bbbb.ipynb", "timestamp": 1_600_000_060_000},
    ]
    listing = {"version": 1, "resource": f"file://{work}/lost%20one.ipynb", "entries": entries}
    put(history / "entries.json", json.dumps(listing).encode())
    backup = home / ".config" / "Code" / "Backups" / "17" / "file" / "abc"
    put(backup, f'file://{work}/lost%20one.ipynb {{"typeId":"x"}}\n'.encode() + notebook_bytes("z = 3"))
    answer = rescue("lost one.ipynb")
    assert [Path(path).name for _, path, _ in found(answer)] == ["abc", "bbbb.ipynb", "aaaa.ipynb"]
    assert {each["source"] for each in answer.json["found"]} == {"vscode"}


def test_checkpoints_of_other_notebooks_are_not_taken_for_ours(work: Path, rescue: Ask) -> None:
    """jupyter-checkpoints' own pattern takes ``a-b-1a2b3c4d`` for one of ``a``."""
    ours = put(work / ".ipynb_checkpoints" / "a-1a2b3c4d.ipynb", notebook_bytes("ours = 1"))
    put(work / ".ipynb_checkpoints" / "a-b-1a2b3c4d.ipynb", notebook_bytes("other = 1"))
    assert found(rescue("a.ipynb")) == [("jupyter-checkpoints", str(ours), "exact")]


@pytest.mark.parametrize("language", ["py", "json"])
def test_a_configured_checkpoint_folder_is_searched(home: Path, work: Path, rescue: Ask, language: str) -> None:
    """All notebooks share it, so the name is all that tells."""
    shared = home / "elsewhere"
    path = put(shared / "lost-checkpoint.ipynb", notebook_bytes("x = 1"))
    text = {"py": f"c.FileCheckpoints.checkpoint_dir = '{shared}'\n1/0\n"}.get(
        language, json.dumps({"AsyncFileCheckpoints": {"checkpoint_dir": str(shared)}})
    )
    put(home / ".jupyter" / f"jupyter_server_config.{language}", text.encode())
    assert found(rescue("lost.ipynb")) == [("checkpoint", str(path), "probable")]


def test_temporary_files_are_found_by_name(work: Path, rescue: Ask) -> None:
    """Also the checkpoints that Jupyter puts there when it may not write beside a notebook."""
    temporary = Path(os.environ["TMPDIR"])
    plain = put(temporary / "lost.ipynb", notebook_bytes("x = 1"))
    deeper = put(temporary / "project" / "lost.ipynb", notebook_bytes("somebody = 'else'"))
    put(temporary / "a" / "b" / "c" / "lost.ipynb", notebook_bytes("far = 'away'"))
    checkpoint = put(temporary / "jupyter_checkpoints" / "work" / "lost-checkpoint.ipynb", notebook_bytes("y = 1"))
    assert set(found(rescue("lost.ipynb"))) == {
        ("temp", str(plain), "probable"),
        ("temp", str(deeper), "ambiguous"),
        ("checkpoint", str(checkpoint), "probable"),
    }


def test_the_archive_and_the_spool_are_sources_too(work: Path, rescue: Ask) -> None:
    """Versions that are packed, and those that are not yet."""
    path = put(work / "kept.ipynb", notebook_bytes("x = 1"))
    assert nbguard("run", "--watch", str(work), "--once").code == 0
    put(path, notebook_bytes("x = 1", "y = 2"))
    assert nbguard("snapshot", str(path)).code == 0
    path.unlink()
    assert [(each["source"], each["cells"]) for each in rescue("kept.ipynb").json["found"]] == [
        ("spool", 2),
        ("archive", 1),
    ]


def test_what_was_held_alive_outside_a_wiped_home_is_read(work: Path, rescue: Ask) -> None:
    """The emergency place is laid out as our own; it is read where it lies, and nothing is written there."""
    own = Path(os.environ["NBGUARD_HOME"])
    path = put(work / "kept.ipynb", notebook_bytes("x = 1"))
    assert nbguard("run", "--watch", str(work), "--once").code == 0
    kept = own / "emergency" / "kept"
    kept.parent.mkdir(mode=0o700, exist_ok=True)
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    for name in ("archive.git", "spool", "state"):
        (own / name).rename(kept / name)
    path.unlink()
    before = {each: each.stat().st_mtime_ns for each in kept.rglob("*")}
    answer = rescue("kept.ipynb", "-o", "out")
    assert [(each["source"], each["cells"]) for each in answer.json["found"]] == [("archive", 1)], answer.talk
    assert answer.json["rebuilt"]["notebook"]
    assert {each: each.stat().st_mtime_ns for each in kept.rglob("*")} == before
    assert [each.name for each in Path(os.environ["TMPDIR"]).iterdir()] == []


def test_other_notebooks_of_that_name_are_ambiguous(home: Path, work: Path, rescue: Ask) -> None:
    """Two that end alike, and neither is here: nothing is merged, and both are named."""
    put(home / "one" / ".ipynb_checkpoints" / "same-checkpoint.ipynb", notebook_bytes("x = 1"))
    put(home / "two" / ".ipynb_checkpoints" / "same-checkpoint.ipynb", notebook_bytes("x = 2"))
    answer = rescue("same.ipynb", "-o", "out")
    assert answer.code == 1 and json.loads(answer.talk)["code"] == "ambiguous"
    assert [each["confidence"] for each in answer.json["found"]] == ["ambiguous"] * 2
    assert all(each["written_to"] for each in answer.json["found"]) and answer.json["rebuilt"]["notebook"] is None
    more = rescue("one/same.ipynb", "-o", "out")
    assert more.code == 0 and [each["confidence"] for each in more.json["found"]] == ["probable"]


def test_words_that_make_no_sense_are_wrong_usage(rescue: Ask) -> None:
    """Exit code 2, with a hint."""
    for words in (("a", "--session", "b"), ("a", "--check"), ("--under", "nowhere")):
        answer = rescue(*words)
        assert answer.code == 2 and json.loads(answer.talk)["hint"]


def test_only_the_folder_that_is_named_is_searched(home: Path, work: Path, rescue: Ask) -> None:
    """Another disk, or a backup that was mounted."""
    put(work / ".ipynb_checkpoints" / "lost-checkpoint.ipynb", notebook_bytes("x = 1"))
    there = put(home / "disk" / "old" / ".ipynb_checkpoints" / "lost-checkpoint.ipynb", notebook_bytes("x = 2"))
    assert [path for _, path, _ in found(rescue("lost.ipynb", "--under", str(home / "disk")))] == [str(there)]


def test_nothing_left_is_said_so(rescue: Ask) -> None:
    """Exit code 1, and the object all the same."""
    answer = rescue("nowhere.ipynb")
    assert answer.code == 1 and answer.json["found"] == []
    assert json.loads(answer.talk)["code"] == "nothing-matched"


def test_what_is_found_is_written_and_nothing_is_overwritten(work: Path, rescue: Ask) -> None:
    """Private files, a private folder, the very bytes; the second time, other names."""
    data = notebook_bytes("x = 1")
    put(work / ".ipynb_checkpoints" / "lost-checkpoint.ipynb", data)
    first, second = rescue("lost.ipynb", "-o", "out"), rescue("lost.ipynb", "-o", "out")
    places = [Path(answer.json["found"][0]["written_to"]) for answer in (first, second)]
    assert places[0] != places[1] and all(place.read_bytes() == data for place in places)
    assert first.json["rebuilt"]["notebook"] != second.json["rebuilt"]["notebook"]
    out = work / "out"
    assert out.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600) for path in out.rglob("*"))
    assert not list(out.rglob("*.tmp"))


def test_a_broken_configuration_stops_nothing(work: Path, rescue: Ask) -> None:
    """Everywhere else it is fatal; here somebody needs help."""
    put(Path(os.environ["NBGUARD_HOME"]) / "config.toml", b"not [ toml")
    put(work / ".ipynb_checkpoints" / "lost-checkpoint.ipynb", notebook_bytes("x = 1"))
    assert rescue("lost.ipynb").code == 0


def test_a_pipe_a_loop_and_a_folder_called_like_a_notebook_hang_nobody(work: Path, rescue: Ask) -> None:
    """A pipe blocks whoever opens it; links to above go round for ever."""
    (work / ".ipynb_checkpoints").mkdir()
    os.mkfifo(work / ".ipynb_checkpoints" / "lost-checkpoint.ipynb")
    os.mkfifo(work / ".~lost.ipynb")
    os.mkfifo(work / "lost.ipynb")
    os.mkfifo(Path(os.environ["TMPDIR"]) / "lost.ipynb")
    (work / "round").symlink_to(work)
    (work / "lost.ipynb~").mkdir()
    answer = rescue("lost.ipynb")
    assert answer.code == 1 and answer.json["found"] == [] and answer.json["present"] == []


def test_people_get_plain_words(work: Path) -> None:
    """What it is, how old, how full, and what to type next."""
    put(work / ".ipynb_checkpoints" / "my lost-checkpoint.ipynb", notebook_bytes("x = 1"))
    answer = nbguard("rescue", "my lost.ipynb", cwd=work)
    assert "Jupyter's checkpoint" in answer.out and "days ago" in answer.out
    assert "nbguard rescue 'my lost.ipynb' -o rescued" in answer.talk and "browser tab" in answer.talk


def _info(path: str) -> bytes:
    return f"[Trash Info]\nPath={path}\nDeletionDate=2023-11-14T23:13:20\n".encode()


def test_gio_trash_is_found(home: Path, work: Path, rescue: Ask) -> None:
    """What the desktop's file managers use."""
    path = put(work / "desk top.ipynb", notebook_bytes("x = 1"))
    try:
        done = subprocess.run(["gio", "trash", str(path)], check=False, timeout=20, capture_output=True)
    except FileNotFoundError:
        return  # another machine without it: send2trash follows the same specification
    if done.returncode == 0:
        assert [source for source, _, _ in found(rescue("desk top.ipynb"))] == ["trash"]
