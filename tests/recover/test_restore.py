"""Restore: what goes where, that nothing is lost on the way, and that nobody can lead it elsewhere."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbguard.errors import ArchiveTrouble, NothingMatched, Refused, StorageTrouble
from nbguard.model import Status, Trigger, Version
from nbguard.recover import placing
from nbguard.recover.folder import Folder
from nbguard.recover.when import Nth
from tests.helpers import notebook_bytes
from tests.recover.conftest import Bench

OLD, NEW, RUINED = notebook_bytes("a = 1", "b = 2"), notebook_bytes("a = 2", "b = 2"), notebook_bytes()


def litter(folder: Path) -> list[str]:
    """Temporary names left behind."""
    return [name for name in os.listdir(folder) if name.startswith(".nbguard-")]


def test_beside_the_original_under_a_name_that_says_when(bench: Bench) -> None:
    old = bench.save("eda.ipynb", OLD)
    bench.save("eda.ipynb", NEW)
    outcome = bench.restore("eda.ipynb")
    assert outcome.written_to == str(bench.root / "eda.restored-20261120-120100.ipynb")
    assert Path(outcome.written_to).read_bytes() == OLD
    assert (bench.root / "eda.ipynb").read_bytes() == NEW
    assert outcome.plan.version == old
    assert outcome.undo is None
    assert outcome.result is not None
    assert outcome.result.trigger is Trigger.RESTORE
    assert litter(bench.root) == []


def test_a_second_copy_is_numbered_and_the_first_untouched(bench: Bench) -> None:
    bench.save("eda.ipynb", OLD)
    bench.save("eda.ipynb", NEW)
    first = Path(bench.restore("eda.ipynb").written_to)
    first.write_bytes(b"edited since")
    assert bench.restore("eda.ipynb").written_to == str(bench.root / "eda.restored-20261120-120100-2.ipynb")
    assert first.read_bytes() == b"edited since"


def test_a_gone_notebook_comes_back_where_it_was_with_its_folders(bench: Bench) -> None:
    bench.save("deep/er/eda.ipynb", OLD)
    (bench.root / "deep/er/eda.ipynb").unlink()
    (bench.root / "deep/er").rmdir()
    (bench.root / "deep").rmdir()
    bench.library.delete(str(bench.root / "deep/er/eda.ipynb"))
    outcome = bench.restore("deep/er/eda.ipynb")
    assert outcome.written_to == str(bench.root / "deep/er/eda.ipynb")
    assert Path(outcome.written_to).read_bytes() == OLD


def test_also_when_the_root_itself_is_gone(bench: Bench) -> None:
    bench.save("eda.ipynb", OLD)
    (bench.root / "eda.ipynb").unlink()
    bench.root.rmdir()
    assert Path(bench.restore("eda.ipynb").written_to).read_bytes() == OLD


def test_in_place_keeps_what_is_there_first(bench: Bench) -> None:
    bench.save("eda.ipynb", OLD)
    path = bench.root / "eda.ipynb"
    path.write_bytes(b"{ damaged and never kept")
    os.chmod(path, 0o640)
    outcome = bench.restore("eda.ipynb", in_place=True)
    assert path.read_bytes() == OLD
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert outcome.before is not None
    assert bench.library.read(outcome.before) == b"{ damaged and never kept"
    assert outcome.before.status is Status.DAMAGED
    assert bench.library.kept == [(str(path), Trigger.SNAPSHOT), (str(path), Trigger.RESTORE)]
    assert outcome.undo == "nbguard undo"
    assert litter(bench.root) == []


def test_the_result_has_a_fresh_mtime(bench: Bench) -> None:
    bench.save("eda.ipynb", OLD)
    bench.save("eda.ipynb", NEW)
    path = bench.root / "eda.ipynb"
    os.utime(path, (1, 1))
    bench.restore("eda.ipynb", in_place=True)
    assert path.stat().st_mtime > 1_000_000


@pytest.mark.root
def test_the_owner_stays(bench: Bench) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to give a file away")
    bench.save("eda.ipynb", OLD)
    bench.save("eda.ipynb", NEW)
    os.chown(bench.root / "eda.ipynb", 1234, 2345)
    bench.restore("eda.ipynb", in_place=True)
    status = (bench.root / "eda.ipynb").stat()
    assert (status.st_uid, status.st_gid) == (1234, 2345)


def test_a_copy_of_a_private_notebook_is_private(bench: Bench) -> None:
    bench.save("eda.ipynb", OLD)
    bench.save("eda.ipynb", NEW)
    os.chmod(bench.root / "eda.ipynb", 0o600)
    assert stat.S_IMODE(os.stat(bench.restore("eda.ipynb").written_to).st_mode) == 0o600


def test_if_it_cannot_be_kept_it_is_not_replaced(bench: Bench) -> None:
    bench.save("eda.ipynb", OLD)
    bench.save("eda.ipynb", NEW)
    refusals = []

    def refuse(path: str, trigger: Trigger) -> Version:
        refusals.append(path)
        raise StorageTrouble("no space left", code="no-space")

    bench.keep = refuse
    with pytest.raises(StorageTrouble):
        bench.restore("eda.ipynb", in_place=True)
    assert refusals
    assert (bench.root / "eda.ipynb").read_bytes() == NEW
    assert litter(bench.root) == []


def test_a_result_that_cannot_be_kept_is_said_and_stays(bench: Bench) -> None:
    bench.save("eda.ipynb", OLD)
    bench.save("eda.ipynb", NEW)
    keep = bench.keep

    def refuse_the_result(path: str, trigger: Trigger) -> Version:
        if trigger is Trigger.RESTORE:
            raise StorageTrouble("no space left", code="no-space")
        return keep(path, trigger)

    bench.keep = refuse_the_result
    outcome = bench.restore("eda.ipynb", in_place=True)
    assert (bench.root / "eda.ipynb").read_bytes() == OLD
    assert outcome.result is None
    assert "no space left" in outcome.trouble


def test_a_save_between_keeping_and_replacing_is_kept_too(bench: Bench) -> None:
    bench.save("eda.ipynb", OLD)
    bench.save("eda.ipynb", NEW)
    path = bench.root / "eda.ipynb"
    keep = bench.keep
    written: list[int] = []

    def keep_then_somebody_writes(kept_path: str, trigger: Trigger) -> Version:
        version = keep(kept_path, trigger)
        if not written:
            written.append(path.write_bytes(b"written at the last moment"))
        return version

    bench.keep = keep_then_somebody_writes
    bench.restore("eda.ipynb", Nth(1), in_place=True)
    assert written
    assert path.read_bytes() == OLD
    assert b"written at the last moment" in bench.library.data.values()


def test_a_write_in_the_very_last_moment_is_put_back_and_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.save("eda.ipynb", OLD)
    bench.save("eda.ipynb", NEW)
    path = bench.root / "eda.ipynb"
    rename = Folder.rename
    fired: list[int] = []

    def write_then_rename(self: Folder, source: str, target: str) -> None:
        if not fired:
            fired.append(path.write_bytes(b"written at the very last moment"))
        rename(self, source, target)

    monkeypatch.setattr(Folder, "rename", write_then_rename)
    bench.restore("eda.ipynb", Nth(1), in_place=True)
    assert fired
    assert path.read_bytes() == OLD
    assert b"written at the very last moment" in bench.library.data.values()
    assert litter(bench.root) == []


def test_a_notebook_that_never_stands_still_is_left_alone(bench: Bench) -> None:
    bench.save("eda.ipynb", OLD)
    bench.save("eda.ipynb", NEW)
    path = bench.root / "eda.ipynb"
    keep = bench.keep
    count: list[int] = []

    def keep_then_somebody_writes(kept_path: str, trigger: Trigger) -> Version:
        version = keep(kept_path, trigger)
        count.append(path.write_bytes(b"%d" % len(count)))
        return version

    bench.keep = keep_then_somebody_writes
    with pytest.raises(Refused, match="again and again"):
        bench.restore("eda.ipynb", Nth(1), in_place=True)
    assert path.read_bytes() == b"%d" % (len(count) - 1)
    assert litter(bench.root) == []


def test_what_does_not_read_back_is_reported(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.save("eda.ipynb", OLD)
    bench.save("eda.ipynb", NEW)
    fired = []

    def rotten(self: Folder, name: str) -> bytes:
        fired.append(name)
        return b"rotten"

    monkeypatch.setattr(Folder, "read", rotten)
    with pytest.raises(ArchiveTrouble, match="does not read back"):
        bench.restore("eda.ipynb")
    assert fired


def test_to_a_new_place_into_a_folder_and_never_over_a_file(bench: Bench) -> None:
    bench.save("eda.ipynb", OLD)
    bench.save("eda.ipynb", NEW)
    assert bench.restore("eda.ipynb", to="new/place.ipynb").written_to == str(bench.root / "new/place.ipynb")
    assert bench.restore("eda.ipynb", to="new").written_to == str(bench.root / "new/eda.ipynb")
    assert bench.restore("eda.ipynb", to="other/").written_to == str(bench.root / "other/eda.ipynb")
    with pytest.raises(Refused, match="exists already"):
        bench.restore("eda.ipynb", to="new")
    with pytest.raises(Refused, match="exists already"):
        bench.restore("eda.ipynb", to="eda.ipynb")
    assert (bench.root / "eda.ipynb").read_bytes() == NEW


def test_a_tombstone_is_never_restored(bench: Bench) -> None:
    bench.save("eda.ipynb", OLD)
    (bench.root / "eda.ipynb").unlink()
    bench.library.delete(str(bench.root / "eda.ipynb"))
    with pytest.raises(NothingMatched, match="was deleted then"):
        bench.restore("eda.ipynb", Nth(0))
    assert os.listdir(bench.root) == []


def attack_file(bench: Bench, outside: Path) -> None:
    (bench.root / "sub/eda.ipynb").unlink()
    (bench.root / "sub/eda.ipynb").symlink_to(outside / "victim")


def attack_dangling(bench: Bench, outside: Path) -> None:
    (bench.root / "sub/eda.ipynb").unlink()
    (bench.root / "sub/eda.ipynb").symlink_to(outside / "not-there")


def attack_folder(bench: Bench, outside: Path) -> None:
    (bench.root / "sub/eda.ipynb").unlink()
    (bench.root / "sub").rmdir()
    (bench.root / "sub").symlink_to(outside)


@pytest.mark.parametrize("attack", [attack_file, attack_dangling, attack_folder])
@pytest.mark.parametrize("in_place", [True, False])
def test_a_symlink_that_leads_elsewhere_is_not_written_through(
    bench: Bench, tmp_path: Path, attack: object, in_place: bool
) -> None:
    bench.save("sub/eda.ipynb", OLD)
    bench.save("sub/eda.ipynb", NEW)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_bytes(b"untouched")
    assert callable(attack)
    attack(bench, outside)
    beside = attack is not attack_folder and not in_place
    if beside:  # beside the link, in the notebook's own folder: nothing is written through it
        assert Path(bench.restore("sub/eda.ipynb").written_to).parent == bench.root / "sub"
    else:
        with pytest.raises(Refused, match="symlink") as caught:
            bench.restore("sub/eda.ipynb", in_place=in_place)
        assert "nothing was written" in caught.value.hint
    assert os.listdir(outside) == ["victim"]
    assert (outside / "victim").read_bytes() == b"untouched"


def test_to_through_a_symlinked_folder_is_refused_with_where_it_leads(bench: Bench, tmp_path: Path) -> None:
    bench.save("eda.ipynb", OLD)
    bench.save("eda.ipynb", NEW)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(Refused, match=f"leads to {tmp_path}/real"):
        bench.restore("eda.ipynb", to=str(tmp_path / "link/eda.ipynb"))
    assert os.listdir(tmp_path / "real") == []


@pytest.mark.parametrize("configured", [True, False])
def test_a_configured_root_behind_a_symlink_is_the_users_own_choice(
    bench: Bench, tmp_path: Path, configured: bool
) -> None:
    (tmp_path / "alias").symlink_to("work")
    bench.root = tmp_path / "alias"
    bench.library.root = str(bench.root)
    bench.roots = (str(bench.root),) if configured else ()
    bench.save("eda.ipynb", OLD)
    bench.save("eda.ipynb", NEW)
    if configured:
        bench.restore("eda.ipynb", in_place=True)
    else:  # kept from outside the roots: nobody vouches for the symlink
        with pytest.raises(Refused, match="symlink"):
            bench.restore("eda.ipynb", in_place=True)
    assert (tmp_path / "work/eda.ipynb").read_bytes() == (OLD if configured else NEW)


def test_a_folder_swapped_for_a_symlink_midway_leads_nowhere(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.save("sub/eda.ipynb", OLD)
    bench.save("sub/eda.ipynb", NEW)
    outside = tmp_path / "outside"
    outside.mkdir()
    write_new = Folder.write_new
    fired = []

    def swap_then_write(self: Folder, data: bytes, *, like: os.stat_result | None = None) -> str:
        (bench.root / "sub").rename(bench.root / "moved")
        (bench.root / "sub").symlink_to(outside)
        fired.append(True)
        return write_new(self, data, like=like)

    monkeypatch.setattr(Folder, "write_new", swap_then_write)
    bench.restore("sub/eda.ipynb", Nth(1))
    assert fired
    assert os.listdir(outside) == []
    assert len(os.listdir(bench.root / "moved")) == 2


@pytest.mark.parametrize("what", ["folder", "fifo"])
def test_what_is_no_file_is_not_replaced(bench: Bench, what: str) -> None:
    bench.save("eda.ipynb", OLD)
    (bench.root / "eda.ipynb").unlink()
    if what == "folder":
        (bench.root / "eda.ipynb").mkdir()
    else:
        os.mkfifo(bench.root / "eda.ipynb")
    with pytest.raises(Refused, match=r"a folder now|not a regular file"):
        bench.restore("eda.ipynb", in_place=True)
    assert bench.restore("eda.ipynb").written_to.endswith(".restored-20261120-120100.ipynb")


def test_without_hard_links_nothing_is_overwritten_either(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.save("eda.ipynb", OLD)
    bench.save("eda.ipynb", NEW)
    fired = []

    def no_links(*arguments: object, **options: object) -> None:
        fired.append(arguments)
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    first = bench.restore("eda.ipynb", Nth(1)).written_to
    second = bench.restore("eda.ipynb", Nth(1)).written_to
    assert fired
    assert first != second
    bench.restore("eda.ipynb", Nth(1), in_place=True)
    assert (bench.root / "eda.ipynb").read_bytes() == OLD
    assert litter(bench.root) == []


NAMES = [
    "-rf.ipynb",
    "a\nb.ipynb",
    "\udcff\udcfe.ipynb",
    "é" * 124 + ".ipynb",
    "x" * 249 + ".ipynb",
    ":(top).ipynb",
    "'.ipynb",
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_hostile_names_come_back_beside_in_place_and_where_they_were(bench: Bench, name: str) -> None:
    bench.save(name, OLD)
    bench.save(name, NEW)
    beside = bench.restore(name).written_to
    assert os.path.dirname(beside) == str(bench.root)
    assert len(os.fsencode(os.path.basename(beside))) <= 255
    with open(beside, "rb") as file:
        assert file.read() == OLD
    bench.restore(name, in_place=True)
    assert (bench.root / name).read_bytes() == OLD
    bench.undo()
    assert (bench.root / name).read_bytes() == NEW
    (bench.root / name).unlink()
    assert bench.restore(name, Nth(0)).written_to == str(bench.root / name)
    assert litter(bench.root) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(saves=st.lists(st.binary(max_size=200), min_size=1, max_size=5, unique=True), row=st.integers(0, 4))
def test_restore_gives_back_what_keep_took(bench: Bench, saves: list[bytes], row: int) -> None:
    path = bench.root / "prop.ipynb"
    for data in saves:
        path.write_bytes(data)
        version = bench.library.keep(str(path), Trigger.SNAPSHOT)
        assert bench.library.read(version) == data
    wanted = bench.library.log(version.notebook)[min(row, len(saves) - 1)]
    bench.restore("prop.ipynb", Nth(min(row, len(saves) - 1)), in_place=True)
    assert path.read_bytes() == bench.library.read(wanted)
    bench.undo()
    assert path.read_bytes() == saves[-1]


def test_what_a_killed_restore_left_is_tidied_up_later(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.save("eda.ipynb", OLD)
    bench.save("eda.ipynb", NEW)
    (bench.root / ".nbguard-0123456789ab.tmp").write_bytes(b"half")
    (bench.root / ".nbguard-is-not-ours").write_bytes(b"")
    bench.restore("eda.ipynb")
    assert ".nbguard-0123456789ab.tmp" in litter(bench.root)  # it may belong to a restore that runs now
    monkeypatch.setattr("nbguard.recover.folder._STALE_SECONDS", -1.0)
    bench.restore("eda.ipynb")
    assert litter(bench.root) == [".nbguard-is-not-ours"]


def test_digest_of_what_is_no_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "target").write_bytes(b"x")
    os.mkfifo(tmp_path / "fifo")
    assert [placing.digest_on_disk(str(tmp_path / name)) for name in ("link", "fifo", "none", ".")] == [None] * 4
