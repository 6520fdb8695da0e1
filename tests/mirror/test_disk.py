"""Mirrors on a path: pushed forwards only, read back, and whatever happens to their disk is told."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from nbguard.durable import FileLock
from nbguard.errors import ArchiveTrouble, Busy, ReadBackFailed, Refused
from nbguard.mirror.child import MirrorTrouble
from nbguard.mirror.layout import MARK, NewerMirror
from nbguard.mirror.push import MirrorForeign
from nbguard.mirror.there import heartbeat_in
from tests.archive.mounts import needs_mounts, remount, small_disk
from tests.helpers import poll
from tests.mirror.rig import Rig, commit_of, git, refs


def test_the_first_push_brings_every_branch_and_a_heartbeat(rig: Rig) -> None:
    rig.keep("one", "two")
    mirror = rig.disk()
    state = rig.push()
    found = refs(mirror)
    assert set(found) == {MARK, rig.space.main, rig.space.heartbeat}
    assert found[rig.space.main] == rig.tip() == state.main
    beat = heartbeat_in(git(mirror, "show", f"{rig.space.heartbeat}:heartbeat.json").encode())
    assert (beat.main, beat.sequence) == (rig.tip(), 1)
    assert str(rig.root) not in git(mirror, "show", f"{rig.space.heartbeat}:heartbeat.json")
    assert state.verified_by.startswith("tips and ") and state.behind_since is None
    git(mirror, "fsck", "--full", "--strict")


def test_a_file_url_is_a_path(rig: Rig) -> None:
    rig.keep("one")
    mirror = rig.disk("a disk/müll.git")
    rig.urls = [f"file://{str(mirror).replace(' ', '%20')}"]
    assert rig.push().main == rig.tip()


def test_later_pushes_go_forwards_and_replace_the_heartbeat(rig: Rig) -> None:
    rig.keep("one")
    mirror = rig.disk()
    rig.push()
    before = refs(mirror)
    rig.keep("two")
    rig.clock.move(600)
    rig.push()
    after = refs(mirror)
    assert git(mirror, "merge-base", "--is-ancestor", before[rig.space.main], after[rig.space.main]) == ""
    assert after[rig.space.heartbeat] != before[rig.space.heartbeat]
    assert git(mirror, "rev-list", "--count", rig.space.heartbeat) == "1"


def test_the_repository_is_readable_by_its_owner_alone(rig: Rig) -> None:
    rig.keep("one")
    mirror = rig.disk()
    rig.push()
    modes = {path: path.stat().st_mode & 0o077 for path in (mirror, *mirror.rglob("*"))}
    assert not [path for path, mode in modes.items() if mode]


def test_nothing_is_left_in_state_and_the_archive_is_not_touched(rig: Rig) -> None:
    rig.keep("one")
    rig.disk()
    before = sorted(path for path in rig.archive.rglob("*"))
    rig.push()
    assert sorted(path for path in rig.archive.rglob("*")) == before
    assert not [name for name in os.listdir(rig.state) if name.endswith(".scratch")]


def test_two_installations_share_a_mirror(rig: Rig, tmp_path: Path) -> None:
    other = Rig(tmp_path / "there")
    rig.keep("one")
    other.keep("two")
    mirror = rig.disk()
    other.urls = rig.urls
    rig.push()
    other.push()
    assert rig.space != other.space
    assert refs(mirror)[rig.space.main] == rig.tip() and refs(mirror)[other.space.main] == other.tip()


def test_a_machine_that_was_renamed_keeps_its_namespace(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.keep("one")
    mirror = rig.disk()
    rig.push()
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    rig.clock.move(600)
    rig.push()
    assert len([ref for ref in refs(mirror) if ref.endswith("/heartbeat")]) == 1


def test_a_heartbeat_that_is_not_ours_is_told_and_never_replaced(rig: Rig) -> None:
    rig.keep("one")
    mirror = rig.disk()
    rig.push()
    theirs = commit_of(mirror, "heartbeat.json", b"{}")
    git(mirror, "update-ref", rig.space.heartbeat, theirs)
    rig.keep("two")
    before = refs(mirror)
    with pytest.raises(MirrorForeign):
        rig.push()
    assert refs(mirror) == before
    assert rig.known().foreign and rig.known().behind_since is not None


def test_two_machines_with_one_state_folder_are_told(rig: Rig, tmp_path: Path) -> None:
    rig.keep("one")
    mirror = rig.disk()
    rig.push()
    shutil.copytree(rig.base, tmp_path / "copy")
    copy = Rig(tmp_path / "copy", urls=rig.urls)
    copy.clock.move(5)
    copy.push()  # until somebody else writes as well, nobody can tell
    with pytest.raises(MirrorForeign):
        rig.push()
    assert refs(mirror)[rig.space.heartbeat] in copy.known().written


def test_a_lost_memory_of_what_was_written_makes_nobody_a_stranger(rig: Rig) -> None:
    rig.keep("one")
    rig.disk()
    rig.push()
    (rig.state / "mirrors.json").write_bytes(b"\x00{{{")
    rig.clock.move(600)
    assert rig.push().main == rig.tip()


def test_without_memory_a_heartbeat_of_another_machine_that_lives_now_is_foreign(rig: Rig) -> None:
    rig.keep("one")
    mirror = rig.disk()
    rig.push()
    beat = json.loads(git(mirror, "show", f"{rig.space.heartbeat}:heartbeat.json"))
    theirs = commit_of(mirror, "heartbeat.json", json.dumps({**beat, "boot": "0" * 32}).encode())
    git(mirror, "update-ref", rig.space.heartbeat, theirs)
    (rig.state / "mirrors.json").unlink()
    with pytest.raises(MirrorForeign):
        rig.push()
    assert refs(mirror)[rig.space.heartbeat] == theirs


def test_two_addresses_of_one_mirror_are_no_strangers_to_each_other(rig: Rig) -> None:
    rig.keep("one")
    mirror = rig.disk()
    (rig.base / "link.git").symlink_to(mirror)
    rig.urls.append(str(rig.base / "link.git"))
    for _ in range(2):
        for number in range(2):
            rig.clock.move(600)
            assert rig.push(number).main == rig.tip()


def test_without_an_archive_the_heartbeat_goes_on_and_the_copy_stays(rig: Rig) -> None:
    rig.keep("one")
    mirror = rig.disk()
    rig.push()
    before, verified_at = refs(mirror), rig.known().verified_at
    rig.archive.rename(rig.base / "gone.git")
    rig.clock.move(600)
    rig.push()
    after = refs(mirror)
    assert after[rig.space.main] == before[rig.space.main] and after[rig.space.heartbeat] != before[rig.space.heartbeat]
    assert rig.known().verified_at == verified_at
    (rig.base / "gone.git").rename(rig.archive)
    rig.keep("two")
    assert rig.push().main == rig.tip()


@pytest.mark.parametrize("how", ["apart", "ahead"])
def test_a_branch_that_holds_what_we_do_not_is_told_and_never_moved(rig: Rig, how: str) -> None:
    rig.keep("one")
    mirror = rig.disk()
    rig.push()
    ours = rig.tip()
    theirs = commit_of(mirror, "x", b"x") if how == "apart" else _child_of(mirror, ours)
    git(mirror, "update-ref", rig.space.main, theirs)
    with pytest.raises(MirrorForeign, match="holds what this archive does not"):
        rig.push()
    assert refs(mirror)[rig.space.main] == theirs


def _child_of(folder: Path, commit: str) -> str:
    tree = git(folder, "rev-parse", f"{commit}^{{tree}}")
    return git(folder, "commit-tree", tree, "-p", commit, "-m", "later")


def test_an_archive_brought_back_from_an_older_copy_overwrites_nothing(rig: Rig, tmp_path: Path) -> None:
    rig.keep("one")
    mirror = rig.disk()
    rig.push()
    shutil.copytree(rig.archive, tmp_path / "older.git")
    rig.keep("two")
    rig.push()
    newer = rig.tip()
    shutil.rmtree(rig.archive)
    shutil.copytree(tmp_path / "older.git", rig.archive)
    with pytest.raises(MirrorForeign):
        rig.push()
    assert refs(mirror)[rig.space.main] == newer


@pytest.mark.parametrize("text", [b'{"v": 2}', b'{"v": 2, "more": [1]}'])
def test_a_mirror_of_a_newer_format_is_not_written(rig: Rig, text: bytes) -> None:
    rig.keep("one")
    mirror = rig.disk()
    git(mirror, "update-ref", MARK, commit_of(mirror, "mirror.json", text))
    before = refs(mirror)
    with pytest.raises(NewerMirror, match="format 2"):
        rig.push()
    assert refs(mirror) == before


def test_something_else_in_the_place_of_the_mark_is_no_mirror(rig: Rig) -> None:
    rig.keep("one")
    mirror = rig.disk()
    git(mirror, "update-ref", MARK, commit_of(mirror, "README", b"my thesis"))
    with pytest.raises(ArchiveTrouble, match="mark"):
        rig.push()


def test_a_repository_that_lets_nothing_be_replaced_gets_heartbeats_in_a_row(rig: Rig) -> None:
    rig.keep("one")
    mirror = rig.disk()
    git(mirror, "config", "receive.denyNonFastForwards", "true")
    for count in range(1, 3):
        state = rig.push()
        assert git(mirror, "rev-list", "--count", rig.space.heartbeat) == str(count)
        rig.keep(f"more {count}")
        rig.clock.move(600)
    assert state.chained and refs(mirror)[rig.space.main] == state.main


def test_hooks_of_a_disk_run_nothing_as_us(rig: Rig, tmp_path: Path) -> None:
    rig.keep("one")
    mirror = rig.disk()
    (mirror / "hooks").mkdir(exist_ok=True)
    for hook in ("pre-receive", "update", "post-receive", "post-update", "reference-transaction"):
        (mirror / "hooks" / hook).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran-{hook}\n")
        (mirror / "hooks" / hook).chmod(0o700)
    git(mirror, "config", "core.hooksPath", str(mirror / "hooks"))
    git(mirror, "config", "uploadpack.packObjectsHook", f"touch {tmp_path}/ran-pack; exit 1")
    rig.push(whole=True)
    assert not list(tmp_path.glob("ran-*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_repository_of_another_user_is_refused(rig: Rig) -> None:
    rig.keep("one")
    mirror = rig.disk()
    os.chown(mirror, 12_345, 12_345)
    with pytest.raises(Refused, match="belongs to another user"):
        rig.push()


def test_a_repository_that_borrows_objects_is_no_copy(rig: Rig) -> None:
    rig.keep("one")
    mirror = rig.disk()
    (mirror / "objects" / "info").mkdir(exist_ok=True)
    (mirror / "objects" / "info" / "alternates").write_text(f"{rig.archive}/objects\n")
    with pytest.raises(Refused, match="borrows"):
        rig.push()


def test_an_unmounted_disk_is_told_and_its_return_is_noticed_at_once(rig: Rig) -> None:
    rig.keep("one")
    mirror = rig.disk()
    mirror.parent.rename(rig.base / "unmounted")
    rounds = rig.rounds()
    assert rounds.step() <= 30
    assert rig.known().failures == 1 and "is not there" in rig.known().trouble
    rig.clock.move(5)
    rounds.step()
    assert rig.known().failures == 1  # not yet again
    (rig.base / "unmounted").rename(mirror.parent)
    rounds.step()
    assert rig.known().failures == 0 and rig.known().main == rig.tip()


def test_an_empty_folder_where_the_disk_was_is_never_filled(rig: Rig) -> None:
    rig.keep("one")
    mirror = rig.disk()
    shutil.rmtree(mirror)
    mirror.mkdir()
    with pytest.raises(MirrorTrouble, match="is no bare git repository"):
        rig.push()
    assert not list(mirror.iterdir())


def test_damage_in_an_old_object_is_found_by_reading_whole(rig: Rig) -> None:
    rig.keep(*(f"text {number} " + "x" * 500 for number in range(3)))
    mirror = rig.disk()
    rig.push()
    (pack,) = mirror.glob("objects/pack/*.pack")
    pack.chmod(0o600)
    raw = bytearray(pack.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    pack.write_bytes(raw)
    with pytest.raises(ReadBackFailed):
        rig.push(whole=True)
    assert rig.known().behind_since is not None
    rig.clock.move(3600)
    with pytest.raises(ReadBackFailed):
        rig.push()  # it stays wrong until it was read again and found whole
    raw[len(raw) // 2] ^= 0xFF
    pack.write_bytes(raw)
    rig.clock.move(3600)
    assert rig.push().behind_since is None


def test_every_byte_is_read_once_a_week_also_of_loose_objects(rig: Rig) -> None:
    rig.keep("one")
    mirror = rig.disk()
    rig.push()
    git(mirror, "repack", "-a", "-d", "-q")
    rig.clock.move(600)
    rig.push()  # a heartbeat alone: loose
    blob = git(mirror, "rev-parse", f"{rig.space.heartbeat}:heartbeat.json")
    damaged = mirror / "objects" / blob[:2] / blob[2:]
    whole = damaged.read_bytes()
    damaged.chmod(0o600)
    damaged.write_bytes(whole[:-3] + b"xyz")
    rig.clock.move(600)
    rig.push()
    rig.clock.move(604_800)
    with pytest.raises(ReadBackFailed, match="is not what was written"):
        rig.push()
    damaged.write_bytes(whole)
    rig.clock.move(3600)
    assert rig.push().trouble == ""


def test_a_version_with_other_bytes_is_found_by_the_sample(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.keep("one")
    rig.disk()
    rig.push()
    monkeypatch.setattr("nbguard.app_mirror._samples", lambda context, count: _forged(rig))
    with pytest.raises(ReadBackFailed, match="with other bytes"):
        rig.push(whole=True)


def _forged(rig: Rig) -> list[object]:
    from nbguard.mirror.verify import Sample

    name = git(rig.archive, "ls-tree", "-r", "--name-only", "main").splitlines()[0]
    return [Sample(f"{rig.tip()}:{name}", "0" * 64, 10)]


@pytest.mark.root
@needs_mounts()
def test_a_full_disk_keeps_what_had_arrived_and_the_rest_follows(rig: Rig, tmp_path: Path) -> None:
    rig.keep("one")
    with small_disk(tmp_path / "small", size="3m", inodes=4000) as folder:
        rig.base.joinpath("disk").symlink_to(folder)
        mirror = rig.disk()
        rig.push()
        arrived = rig.tip()
        ballast = folder / "ballast"
        with open(ballast, "wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(bytes(4096))
        rig.keep(os.urandom(100_000).hex())
        with pytest.raises(ArchiveTrouble):
            rig.push()
        assert refs(mirror)[rig.space.main] == arrived
        assert rig.known().behind_since is not None and "its disk is full" in rig.known().trouble
        ballast.unlink()
        rig.clock.move(31)
        rig.rounds().step()
        assert refs(mirror)[rig.space.main] == rig.tip() == rig.known().main
        git(mirror, "fsck", "--full")


@pytest.mark.root
@needs_mounts()
def test_a_disk_that_became_read_only_is_told(rig: Rig, tmp_path: Path) -> None:
    rig.keep("one")
    with small_disk(tmp_path / "small", size="4m", inodes=4000) as folder:
        rig.base.joinpath("disk").symlink_to(folder)
        rig.disk()
        rig.push()
        rig.keep("two")
        remount(folder, "ro")
        with pytest.raises(ArchiveTrouble):
            rig.push()
        assert "read-only" in rig.known().trouble.lower()


def test_a_push_that_was_ended_goes_on_from_what_had_arrived(rig: Rig) -> None:
    rig.keep(*(f"text {number}" for number in range(9)))
    mirror = rig.disk()
    rounds = rig.rounds()
    key = next(iter(rig.all_known().mirrors), None)
    assert key is None
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        if done >= 3:
            rig.stop.set()

    _steps_of(rig, 2)
    with pytest.raises(ArchiveTrouble):
        rounds.try_one(rig.mirrors[0], progress=progress)
    assert seen[-1][0] < seen[-1][1]
    arrived = refs(mirror)[rig.space.main]
    assert arrived != rig.tip()
    rig.stop.clear()
    assert rig.push().main == rig.tip()
    git(mirror, "merge-base", "--is-ancestor", arrived, rig.tip())


def _steps_of(rig: Rig, commits: int) -> None:
    from nbguard.mirror.standing import MirrorState
    from nbguard.mirror.state import StateFile, key_of

    (mirror,) = rig.mirrors
    StateFile(str(rig.state)).put(key_of(mirror.name, mirror.url), MirrorState(step_commits=commits))


def test_a_lock_that_a_killed_push_left_stops_nothing_for_ever(rig: Rig) -> None:
    rig.keep("one")
    mirror = rig.disk()
    rig.push()
    lock = mirror / f"{rig.space.main}.lock"
    lock.write_text("")
    rig.keep("two")
    with pytest.raises(ArchiveTrouble):
        rig.push()
    hours_ago = rig.clock.now().timestamp() - 7_300
    os.utime(lock, (hours_ago, hours_ago))
    assert rig.push().main == rig.tip() and not lock.exists()


def test_executed_cells_and_the_roll_call_are_mirrored_too(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.keep("one")
    mirror = rig.disk()
    called = [b'{"v": 1}\n']
    monkeypatch.setattr("nbguard.app_mirror.roll_call_of", lambda context: called[0])
    for number in range(3):
        tree = git(rig.archive, "rev-parse", "main^{tree}")
        parent = ("-p", git(rig.archive, "rev-parse", "records")) if number else ()
        records = git(rig.archive, "commit-tree", tree, *parent, "-m", f"records {number}")
        git(rig.archive, "update-ref", "refs/heads/records", records)
        rig.clock.move(60)
        assert rig.push().records == records == refs(mirror)[rig.space.records]
    assert git(mirror, "show", f"{rig.space.roll_call}:roll-call.json") == '{"v": 1}'
    before = refs(mirror)[rig.space.roll_call]
    rig.clock.move(600)
    rig.push()
    assert refs(mirror)[rig.space.roll_call] == before  # nothing new, nothing pushed
    called[0] = b'{"v": 1, "humans": []}\n'
    rig.push()
    assert "humans" in git(mirror, "show", f"{rig.space.roll_call}:roll-call.json")


def test_a_push_beside_a_busy_packer_waits_for_no_lock(rig: Rig) -> None:
    rig.keep("one")
    mirror = rig.disk()
    done = threading.Event()
    errors: list[BaseException] = []

    def keep() -> None:
        try:
            for number in range(5):
                rig.keep(f"busy {number}")
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=keep)
    thread.start()
    pushes = 0
    while not done.is_set():
        rig.push()
        pushes += 1
    thread.join()
    assert not errors and pushes
    rig.push(whole=True)
    assert refs(mirror)[rig.space.main] == rig.tip()


def test_a_mirror_is_pushed_while_the_packers_lock_is_held(rig: Rig) -> None:
    rig.keep("one")
    rig.disk()
    with FileLock(str(rig.archive / "nbguard.lock")):
        assert rig.push().main == rig.tip()


def test_only_one_process_is_at_a_mirror(rig: Rig) -> None:
    rig.keep("one")
    mirror = rig.disk()
    with FileLock(str(rig.state / "mirror-m0.lock")):
        with pytest.raises(Busy):
            rig.push()
        rig.rounds().step()  # the daemon waits for its turn
    assert not refs(mirror) and rig.known().failures == 0
    assert rig.push().main == rig.tip()


def test_a_mirror_that_hangs_is_left_within_its_time(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.keep("one")
    mirror = rig.disk()
    rig.push()
    os.remove(mirror / "HEAD")
    os.mkfifo(mirror / "HEAD")  # whoever opens it waits for ever
    monkeypatch.setattr("nbguard.mirror.remote.LIST_SECONDS", 1.0)
    rig.clock.move(600)
    with pytest.raises(ArchiveTrouble):
        rig.push()
    poll(lambda: not _children_of_git(mirror))


def _children_of_git(mirror: Path) -> list[str]:
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            if str(mirror) in " ".join(process.cmdline()):
                found.append(process.name())
        except psutil.Error:
            continue
    return found
