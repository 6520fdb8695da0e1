"""Versions are in the order of observation: whatever the wall clock does, across boots, also without their list."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.archive.boots import epoch_of, outrank
from nbguard.model import DraftKind, Trigger
from tests.archive.rig import Rig
from tests.helpers import notebook_bytes

NOW = 1_800_000_000
Reboot = Callable[[Rig, str], None]


@pytest.fixture
def reboot(monkeypatch: pytest.MonkeyPatch) -> Reboot:
    """Start again in another boot: another id, and the boot clock from zero."""

    def start(rig: Rig, boot: str) -> None:
        monkeypatch.setattr("nbguard.archive.spool.boot_id", lambda: boot)
        rig.clock.boottime = 1
        rig.crash()

    return start


def test_the_log_keeps_its_order_when_the_clock_is_set_back_and_forward(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    ids = []
    for number, jump in enumerate((0, -86_400, 10 * 86_400, -400 * 86_400, 7)):
        rig.clock.wall += timedelta(seconds=jump)
        ids.append(rig.save("/n.ipynb", b"%d" % number).id)
        if number == 2:
            rig.packer.pack()
    assert [version.id for version in rig.log("/n.ipynb")] == ids[::-1]
    rig.packer.pack()
    rig.catalog.discard()
    assert [version.id for version in rig.log("/n.ipynb")] == ids[::-1]
    (head,) = rig.catalog.heads()
    assert head.version == ids[-1]
    assert rig.git("show", "main:notebooks/n.ipynb") == b"4"
    rig.fsck()


def test_a_clock_before_1970_makes_commits_that_git_accepts(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.clock.wall = datetime(1969, 6, 1, tzinfo=UTC)
    draft = rig.save("/n.ipynb", b"old")
    rig.save("/n.ipynb", b"older", observed_at=datetime(1902, 1, 1, tzinfo=UTC), tip=False)
    rig.packer.pack()
    rig.fsck()
    rig.catalog.discard()
    assert rig.read(draft.id) == b"old"
    assert {version.saved_at.year for version in rig.log("/n.ipynb")} == {1969, 1902}


def test_the_log_keeps_its_order_across_boots(tmp_path: Path, reboot: Reboot) -> None:
    rig = Rig(tmp_path)
    ids = []
    for number in range(4):
        reboot(rig, f"boot{number}")
        if number == 2:
            rig.clock.wall -= timedelta(days=3)
        ids += [rig.save("/n.ipynb", b"%d, %d" % (number, save)).id for save in range(2)]
        if number == 1:
            rig.packer.pack()
    assert [version.id for version in rig.log("/n.ipynb")] == ids[::-1]


def test_without_the_list_of_boots_new_versions_still_come_last(tmp_path: Path, reboot: Reboot) -> None:
    """A spool that was removed by hand: what is saved afterwards must not count as older than the archive."""
    rig = Rig(tmp_path)
    reboot(rig, "first")
    rig.save("/n.ipynb", b"before")
    rig.packer.pack()
    os.unlink(os.path.join(rig.places.spool, "boots"))
    rig.clock.wall += timedelta(days=1)
    reboot(rig, "second")
    rig.save("/n.ipynb", b"after")
    rig.packer.pack()
    assert rig.git("show", "main:notebooks/n.ipynb") == b"after"
    assert [version.tip for version in rig.log("/n.ipynb")] == [True, True]


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.integers(-NOW, 3 * NOW)), min_size=1, max_size=12
    )
)
def test_a_boot_keeps_its_epoch_and_later_ones_are_greater(steps: list[tuple[str, int]]) -> None:
    import tempfile

    seen: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for boot, now in steps:
            epoch = epoch_of(boot, folder, now)
            assert epoch == seen.get(boot, epoch)
            if boot not in seen:
                assert all(epoch > earlier for earlier in seen.values())
                assert epoch < 1 << 32
            seen[boot] = epoch


def test_a_torn_line_in_the_list_of_boots_does_no_harm(tmp_path: Path) -> None:
    first = epoch_of("first", str(tmp_path), NOW)
    with open(tmp_path / "boots", "ab") as file:
        file.write(b"torn 17")
    second = epoch_of("second", str(tmp_path), NOW)
    assert second == first + 1
    assert epoch_of("second", str(tmp_path), NOW + 50) == second
    assert epoch_of("first", str(tmp_path), NOW) == first
    assert epoch_of("torn", str(tmp_path), NOW) > second


def test_a_late_draft_is_kept_and_never_becomes_the_latest_state(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    slow = rig.draft("/n.ipynb", b"slow")
    rig.save("/n.ipynb", b"quick")
    rig.packer.pack()
    rig.spool.keep(slow, b"slow")
    rig.packer.pack()
    assert rig.git("show", "main:notebooks/n.ipynb") == b"quick"
    assert [version.id == slow.id for version in rig.log("/n.ipynb")] == [False, True]
    assert rig.read(slow.id) == b"slow"
    (head,) = rig.catalog.heads()
    assert head.version != slow.id


def test_a_late_draft_of_a_notebook_that_was_renamed_meanwhile_does_not_bring_its_old_name_back(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    first = rig.save("/old.ipynb", b"1")
    slow = rig.draft("/old.ipynb", b"slow")
    rig.save("/new.ipynb", b"2", renamed_from="/old.ipynb")
    rig.packer.pack()
    rig.spool.keep(slow, b"slow")
    rig.packer.pack()
    assert set(rig.tree()) == {b"notebooks/new.ipynb"}
    assert [entry.path for entry in rig.library().entries(deleted=False)] == ["/new.ipynb"]
    log = rig.log("/new.ipynb")
    assert [version.notebook for version in log] == [first.id] * 3 and log[1].id == slow.id
    rig.catalog.discard()
    assert [version.id for version in rig.log("/new.ipynb")] == [version.id for version in log]


def test_a_word_that_comes_before_its_version_is_applied_when_the_version_comes(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    late = rig.draft("/n.ipynb", b"late")
    rig.decide(DraftKind.PIN, late.id)
    rig.packer.pack()
    rig.spool.keep(late, b"late")
    assert rig.log("/n.ipynb")[0].pinned
    rig.packer.pack()
    rig.catalog.discard()
    assert rig.log("/n.ipynb")[0].pinned


def test_two_machines_with_one_home_keep_in_turn_and_the_daemon_has_the_last_word(tmp_path: Path) -> None:
    """A command on another machine, which began later: what the daemon here sees after it is newer all the same."""
    rig = Rig(tmp_path)
    rig.save("/n.ipynb", notebook_bytes("daemon, first"))
    elsewhere = Rig(tmp_path)
    elsewhere.spool._boot = "f" * 32
    for number in range(3):
        elsewhere.save("/n.ipynb", notebook_bytes(f"elsewhere {number}"), trigger=Trigger.SNAPSHOT)
        rig.spool.tend()
        newest = rig.save("/n.ipynb", notebook_bytes(f"daemon {number}"))
        log = rig.log("/n.ipynb")
        assert log[0].id == newest.id and log[0].tip
        rig.packer.pack()
    assert len(rig.log("/n.ipynb")) == 7
    assert len((tmp_path / "spool" / "boots").read_text().splitlines()) == 2, "it does not grow with every turn"
    before = rig.answers()
    os.unlink(rig.places.catalog)
    rig.crash()
    assert rig.answers() == before


def test_what_was_kept_on_the_machine_of_then_comes_before_all_that_is_kept_here(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    boot = rig.spool._boot
    outrank(NOW, boot, rig.places.spool)
    assert rig.spool.moment().epoch == NOW + 1
    outrank(NOW + 50, boot, rig.places.spool)
    assert epoch_of(boot, rig.places.spool, 5) == NOW + 51
