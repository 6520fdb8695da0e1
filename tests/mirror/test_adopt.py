"""`nbguard adopt`: a new machine has everything back, and nothing that is here is in danger."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path

import pytest

from nbguard.archive.incoming import Incoming
from nbguard.archive.repository import FORMAT, Archive
from nbguard.errors import StorageTrouble
from nbguard.mirror.adopt import outermost, read_note
from nbguard.mirror.layout import Namespace
from nbguard.mirror.reader import ARCHIVE_FORMAT
from nbguard.places import find_places
from tests.helpers import notebook_bytes, poll
from tests.mirror.places import NOW, Machine, beat, git, make_mirror, push, put_file


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine with three notebooks in its archive, one of them deleted."""
    machine = Machine(tmp_path_factory.mktemp("old") / "ada", "old")
    machine.save("eda.ipynb", "one", "two", "three")
    machine.save("deep/model.ipynb", "a", "b")
    gone = machine.save("gone.ipynb", "gone")
    machine.pack()
    gone.unlink()
    machine.pack()
    return machine


@pytest.fixture(scope="module")
def mirror(old: Machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_mirror(tmp_path_factory.mktemp("disk") / "mirror.git")
    beat(folder, push(old, folder), 1)
    return folder


@pytest.fixture
def new(tmp_path: Path) -> Generator[Machine]:
    yield Machine(tmp_path / "new", "new")


def _answers(machine: Machine, *names: str) -> list[object]:
    """Everything that is known of each notebook, without the commits' places."""
    listing = [machine.nbguard("list", "--json").json, machine.nbguard("list", "--deleted", "--json").json]
    return listing + [machine.nbguard("log", name, "--json").json for name in names]


def test_a_new_machine_answers_as_the_old_one_did(old: Machine, mirror: Path, new: Machine) -> None:
    answer = new.nbguard("adopt", str(mirror), "--json")
    assert answer.code == 0, answer.talk
    assert answer.json["namespace"] == old.namespace
    assert (answer.json["notebooks"], answer.json["roots_gone"]) == (2, [])
    assert [root["path"] for root in answer.json["roots_here"]] == [str(old.work)]
    names = ("eda.ipynb", "model.ipynb", "gone.ipynb")
    assert _answers(new, *names) == _answers(old, *names)
    assert new.nbguard("show", "eda.ipynb", "~1").out.encode() == notebook_bytes("two")
    given = new.nbguard("restore", "eda.ipynb", "--at", "~0", "--to", str(new.home / "back.ipynb"))
    assert given.code == 0 and (new.home / "back.ipynb").read_bytes() == notebook_bytes("three")
    assert new.nbguard("restore", "--all", "--at", "today", "--to", str(new.home / "all")).code == 0
    assert new.nbguard("history").code in (0, 1)
    git(new.archive, "fsck", "--strict", "--no-dangling")
    assert new.archive.stat().st_mode & 0o077 == 0


def test_it_goes_on_under_a_name_of_its_own_and_remembers_whose_it_was(
    old: Machine, mirror: Path, new: Machine
) -> None:
    before = git(mirror, "for-each-ref")
    assert new.nbguard("adopt", str(mirror)).code == 0
    assert new.install != old.install
    note = read_note(str(new.guard / "state" / "adopted.json"))
    assert note is not None and note.namespace == old.namespace and note.main == git(old.archive, "rev-parse", "main")
    path = new.save("mine.ipynb", "mine")
    new.pack()
    assert [row["saved_at"] for row in new.nbguard("log", str(path), "--json").json]
    assert git(mirror, "for-each-ref") == before, "what is in the mirror is not ours to change"


def test_a_notebook_of_then_goes_on_here_with_its_whole_history(old: Machine, mirror: Path, new: Machine) -> None:
    """The same path on the new machine: its next state follows the last one of the old machine."""
    del old
    assert new.nbguard("adopt", str(mirror), "--json").code == 0
    path = json.loads(new.nbguard("list", "--json").out)[0]["path"]
    before = new.nbguard("log", path, "--json").json
    target = Path(path)
    kept = target.read_bytes()
    try:
        target.write_bytes(notebook_bytes("new machine"))
        assert new.nbguard("snapshot", path).code == 0
        after = new.nbguard("log", path, "--json").json
        assert after[1:] == before and after[0]["notebook"] == before[0]["notebook"]
    finally:
        target.write_bytes(kept)


def test_notebooks_that_never_were_on_this_machine_are_not_recorded_as_deleted_here(
    tmp_path: Path, new: Machine
) -> None:
    shared = tmp_path / "shared"
    first = Machine(tmp_path / "first", "first")
    shared.mkdir()
    for name in ("a.ipynb", "b.ipynb"):
        (shared / name).write_bytes(notebook_bytes(name))
    assert first.nbguard("run", "--once", "--watch", str(shared)).code == 0
    folder = make_mirror(tmp_path / "mirror.git")
    push(first, folder)
    for name in ("a.ipynb", "b.ipynb"):
        (shared / name).unlink()  # the new machine's disk: the folder is there, and empty
    assert new.nbguard("adopt", str(folder), "--yes").code == 0
    assert new.nbguard("run", "--once").code == 0
    assert len(new.nbguard("list", "--json").json) == 2
    assert new.nbguard("list", "--deleted", "--json").json == []
    assert new.nbguard("restore", "a.ipynb").code == 0, "it comes back to where it was"
    assert (shared / "a.ipynb").read_bytes() == notebook_bytes("a.ipynb")


def test_where_several_hosts_mirror_to_one_place_it_asks_which(old: Machine, mirror: Path, new: Machine) -> None:
    second = "laptop-bob-0123456789abcdef"
    push(old, mirror, namespace=second)
    beat(mirror, second, 7, at=NOW - timedelta(days=3))
    try:
        refused = new.nbguard("adopt", str(mirror), "--json")
        assert refused.code == 1 and json.loads(refused.talk)["code"] == "ambiguous"
        assert second in refused.talk and old.namespace in refused.talk and "2026-11-18" in refused.talk
        assert not new.archive.exists()
        assert new.nbguard("adopt", str(mirror), "--host", "nobody").code == 1
        assert new.nbguard("adopt", str(mirror), "--host", "laptop").code == 0
    finally:
        for branch in ("main", "records", "heartbeat"):
            git(mirror, "update-ref", "-d", f"refs/heads/hosts/{second}/{branch}")


def test_an_archive_with_versions_is_never_replaced(mirror: Path, new: Machine) -> None:
    path = new.save("mine.ipynb", "mine")
    new.pack()
    before = git(new.archive, "rev-parse", "main")
    refused = new.nbguard("adopt", str(mirror))
    assert refused.code == 1 and "NBGUARD_HOME=" in refused.talk
    assert git(new.archive, "rev-parse", "main") == before and new.nbguard("show", str(path)).code == 0
    assert not list(new.guard.glob("archive.git.*.incoming"))


def test_an_empty_archive_makes_room_and_what_is_spooled_stays(mirror: Path, new: Machine) -> None:
    path = new.save("mine.ipynb", "mine")
    assert new.nbguard("adopt", str(mirror)).code == 0
    assert (new.guard / "archive.git.empty").is_dir(), "moved aside, not removed"
    assert len(new.nbguard("log", str(path), "--json").json) == 1
    new.pack()
    assert git(new.archive, "show", f"main:notebooks{path}").encode() == notebook_bytes("mine").strip()


def test_nothing_is_changed_by_a_dry_run(mirror: Path, new: Machine) -> None:
    assert new.nbguard("adopt", str(mirror), "--dry-run").code == 0
    assert not new.archive.exists()


@pytest.mark.parametrize(
    ("url", "code"),
    [("ext::sh -c id", 2), ("--upload-pack=id", 2), ("http://127.0.0.1/x.git", 2), ("/no/such/mirror.git", 1)],
)
def test_an_address_that_is_none_or_not_safe_is_refused(new: Machine, url: str, code: int) -> None:
    refused = new.nbguard("adopt", "--json", "--", url)
    assert refused.code == code, refused.talk
    assert json.loads(refused.talk)["hint"] and not new.archive.exists()


def test_a_mirror_that_is_damaged_leaves_nothing_half(old: Machine, new: Machine, tmp_path: Path) -> None:
    broken = make_mirror(tmp_path / "broken.git")
    namespace = push(old, broken)
    git(broken, "repack", "-adq")
    (pack,) = (broken / "objects" / "pack").glob("*.pack")
    pack.chmod(0o600)
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 0xFF
    pack.write_bytes(data)
    refused = new.nbguard("adopt", str(broken), "--host", namespace)
    assert refused.code == 1 and "cannot be read" in refused.talk
    assert not new.archive.exists() and not list(new.guard.glob("archive.git*"))


def test_a_history_that_cannot_be_understood_is_not_put_in_place(old: Machine, new: Machine, tmp_path: Path) -> None:
    odd = make_mirror(tmp_path / "odd.git")
    namespace = push(old, odd)
    tip, tree = (
        git(odd, "rev-parse", Namespace(namespace).main),
        git(odd, "rev-parse", f"{Namespace(namespace).main}^{{tree}}"),
    )
    who = ("-c", "user.name=nbguard", "-c", "user.email=nbguard@localhost")
    bad = git(odd, *who, "commit-tree", "-p", tip, "-m", "x\n\nId: abc\nNotebook: ../../x\nSeq: nonsense", tree)
    git(odd, "update-ref", Namespace(namespace).main, bad)
    refused = new.nbguard("adopt", str(odd))
    assert refused.code == 1 and "not readable" in refused.talk
    assert not new.archive.exists()


def test_an_archive_is_no_mirror_and_that_is_said(old: Machine, new: Machine) -> None:
    refused = new.nbguard("adopt", str(old.archive))
    assert refused.code == 1 and "it is an archive itself" in refused.talk


def test_a_newer_archive_is_read_and_not_written(old: Machine, mirror: Path, new: Machine) -> None:
    assert ARCHIVE_FORMAT == FORMAT
    raw = json.dumps({"v": 99}).encode()
    put_file(mirror, Namespace(old.namespace).heartbeat, "heartbeat.json", raw)
    put_file(mirror, "refs/heads/nbguard-mirror", "mirror.json", b'{"v": 99}')
    try:
        answer = new.nbguard("adopt", str(mirror))
        assert answer.code == 0 and "newer nbguard" in answer.talk
        assert len(new.nbguard("log", "eda.ipynb", "--json").json) == 3
        path = new.home / "x.ipynb"
        path.write_bytes(notebook_bytes("x"))
        refused = new.nbguard("snapshot", str(path))
        assert refused.code == 1 and "format" in refused.talk
    finally:
        git(mirror, "update-ref", "-d", "refs/heads/nbguard-mirror")
        beat(mirror, old.namespace, 1)


def test_a_killed_adopt_leaves_nothing_half_and_the_next_one_tidies_up(
    old: Machine, mirror: Path, new: Machine, tmp_path: Path
) -> None:
    """git is replaced by one that waits while it fetches, so that the kill surely comes in the middle."""
    del old
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    tools = tmp_path / "tools"
    tools.mkdir()
    slow = tools / "git"
    slow.write_text(
        f'#!/bin/sh\ncase "$*" in *--progress*) touch "{tmp_path}/fetching"; sleep 60;; esac\nexec {real} "$@"\n'
    )
    slow.chmod(0o755)
    child = subprocess.Popen(
        [sys.executable, "-m", "nbguard", "adopt", str(mirror)],
        env={**new.environment, "PATH": f"{tools}:{os.environ['PATH']}"},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    poll((tmp_path / "fetching").exists, 20)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert not new.archive.exists()
    assert list(new.guard.glob("archive.git.*.incoming")), "the fault fired: something was half done"
    assert new.nbguard("list").code == 10, "and nobody takes it for an archive"
    assert new.nbguard("adopt", str(mirror)).code == 0
    assert not list(new.guard.glob("archive.git.*.incoming"))


def test_an_adopt_that_was_killed_once_the_archive_was_in_place_is_finished_by_the_next_one(
    old: Machine, mirror: Path, new: Machine, tmp_path: Path
) -> None:
    """git is replaced by one that waits as soon as the archive is there."""
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    tools = tmp_path / "tools"
    tools.mkdir()
    slow = tools / "git"
    slow.write_text(
        f'#!/bin/sh\n[ ! -d "{new.archive}" ] || {{ touch "{tmp_path}/there"; sleep 60; }}\nexec {real} "$@"\n'
    )
    slow.chmod(0o755)
    child = subprocess.Popen(
        [sys.executable, "-m", "nbguard", "adopt", str(mirror), "--yes"],
        env={**new.environment, "PATH": f"{tools}:{os.environ['PATH']}"},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    poll((tmp_path / "there").exists, 20)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    begun = new.guard / "state" / "adopting.json"
    assert begun.exists() and not (new.guard / "spool" / "boots").exists(), "the fault fired: it was not finished"
    again = new.nbguard("adopt", str(mirror), "--yes", "--json")
    assert again.code == 0, again.talk
    assert (again.json["notebooks"], again.json["namespace"]) == (2, old.namespace)
    assert not begun.exists() and (new.guard / "config.toml").exists() and (new.guard / "spool" / "boots").exists()
    assert new.nbguard("adopt", str(mirror)).code == 1, "what is finished is not taken over once more"


def test_what_another_process_is_making_is_not_tidied_away(tmp_path: Path) -> None:
    archive = Archive(find_places(home=str(tmp_path)))
    with Incoming(archive) as first, Incoming(archive) as second:
        assert os.path.isdir(first.folder) and os.path.isdir(second.folder)
        first.put()
        with pytest.raises(StorageTrouble):
            second.put()
    assert archive.exists() and not list(tmp_path.glob("*.incoming"))


def test_from_mirror_add_to_adopt_and_a_look_from_a_third_machine(new: Machine, tmp_path: Path) -> None:
    """The commands as people use them, and nobody's hand in the mirror but theirs."""
    first, third = Machine(tmp_path / "first"), Machine(tmp_path / "third")
    path = first.save("eda.ipynb", "one", "two")
    first.pack()
    disk = tmp_path / "disk" / "nbguard.git"
    disk.parent.mkdir()
    added = first.nbguard("mirror", "add", str(disk), "--yes")
    assert added.code == 0, added.talk
    assert new.nbguard("adopt", str(disk)).code == 0
    assert new.nbguard("log", str(path), "--json").json == first.nbguard("log", str(path), "--json").json
    seen = third.nbguard("check", "--mirror", str(disk), "--json")
    assert seen.code == 0 and [host["install"] for host in seen.json["hosts"]] == [first.install]
    assert new.nbguard("mirror", "add", str(disk), "--yes", "--name", "disk").code == 0
    hosts = third.nbguard("check", "--mirror", str(disk), "--json").json["hosts"]
    assert {host["install"] for host in hosts} == {first.install, new.install}
    assert first.nbguard("mirror", "sync").code == 0, "neither is in the other's way"


def test_a_root_inside_another_is_not_named_twice() -> None:
    assert outermost(["/a/b", "/a", "/ab", "/a/b/c"]) == ("/a", "/ab")
