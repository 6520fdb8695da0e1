"""What only root can do to a root: mounts that come and go, and limits of a user namespace."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.helpers import notebook_bytes
from tests.powers import needs_root
from tests.protection import Protection
from tests.watch.test_watcher import guarding, hears, mode

pytestmark = [pytest.mark.root, needs_root]


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


class Disk:
    """A tmpfs that is mounted at a folder until the test ends."""

    def __init__(self, at: Path) -> None:
        self.at = at
        at.mkdir(exist_ok=True)
        self.mount()

    def mount(self) -> None:
        run("mount", "-t", "tmpfs", "-o", "size=8m", "nbguard-test", str(self.at))

    def unmount(self) -> None:
        run("umount", "-l", str(self.at))


@pytest.fixture
def disks() -> Generator[list[Disk]]:
    made: list[Disk] = []
    yield made
    for disk in reversed(made):
        while subprocess.run(["umount", "-l", str(disk.at)], check=False, capture_output=True).returncode == 0:
            pass


def nothing_recorded_after_all_is_looked_at(guard: Protection) -> None:
    guard.until(lambda: not guard.saves.pending(), 5)
    guard.until(lambda: not guard.saves._missing.is_gathering, 5)
    assert guard.store.tombstones() == []


def test_an_unmounted_root_is_lost_not_deleted(tmp_path: Path, disks: list[Disk]) -> None:
    root = tmp_path / "root"
    disks.append(Disk(root))
    (root / "a.ipynb").write_bytes(notebook_bytes("a"))
    with guarding(root) as guard:
        disks[0].unmount()
        assert not (root / "a.ipynb").exists(), "the fault fired"
        guard.until(lambda: "root-gone" in guard.codes(), 5)
        assert mode(guard) == "gone"
        nothing_recorded_after_all_is_looked_at(guard)


def test_a_root_on_a_disk_that_comes_back_is_watched_again(tmp_path: Path, disks: list[Disk]) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    disks.append(Disk(root))
    elsewhere.mkdir()
    (root / "a.ipynb").write_bytes(notebook_bytes("a"))
    with guarding(root) as guard:
        run("mount", "--move", str(root), str(elsewhere))
        guard.until(lambda: "root-gone" in guard.codes(), 5)
        run("mount", "--move", str(elsewhere), str(root))
        guard.until(lambda: mode(guard) == "events" and "root-gone" not in guard.codes(), 5)
        hears(guard, root / "a.ipynb", "again")
        nothing_recorded_after_all_is_looked_at(guard)


def test_an_unmounted_folder_of_a_root_is_out_of_reach_not_deleted(tmp_path: Path, disks: list[Disk]) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.ipynb").write_bytes(notebook_bytes("a"))
    disks.append(Disk(root / "data"))
    (root / "data" / "b.ipynb").write_bytes(notebook_bytes("b"))
    (root / "data" / "deep").mkdir()
    (root / "data" / "deep" / "c.ipynb").write_bytes(notebook_bytes("c"))
    with guarding(root) as guard:
        assert len(guard.store.drafts) == 3
        disks[0].unmount()
        guard.until(lambda: "unreachable" in guard.codes(), 10)
        (problem,) = guard.saves.problems()
        assert (problem.subject, problem.message[:11]) == (str(root / "data"), "2 notebooks")
        nothing_recorded_after_all_is_looked_at(guard)
        hears(guard, root / "a.ipynb", "goes on")


def test_a_root_mounted_over_is_lost_and_what_is_new_there_is_kept(tmp_path: Path, disks: list[Disk]) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.ipynb").write_bytes(notebook_bytes("a"))
    with guarding(root) as guard:
        disks.append(Disk(root))
        guard.until(lambda: "root-gone" in guard.codes(), 5)
        (root / "b.ipynb").write_bytes(notebook_bytes("b"))
        guard.until(lambda: guard.store.of(str(root / "b.ipynb")) == [notebook_bytes("b")], 5)
        nothing_recorded_after_all_is_looked_at(guard)
        disks[0].unmount()
        guard.until(lambda: "root-gone" not in guard.codes(), 5)
        hears(guard, root / "a.ipynb", "uncovered")
        nothing_recorded_after_all_is_looked_at(guard)


def test_a_folder_mounted_later_is_watched(tmp_path: Path, disks: list[Disk]) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with guarding(root) as guard:
        disks.append(Disk(root / "data"))
        guard.until(lambda: guard.watcher.rebuilds > 0, 5)
        guard.until(lambda: not guard.watcher._roots[0].needs_full_sweep, 5)
        hears(guard, root / "data" / "b.ipynb", "b")


_IN_A_SMALL_NAMESPACE = """
import json, sys
from pathlib import Path
from tests.watch.test_watcher import guarding
from tests.helpers import notebook_bytes
root = Path(sys.argv[1])
for number in range(80):
    (root / f"p{number}").mkdir()
with guarding(root) as guard:
    guard.until(lambda: "watch-limit" in guard.codes(), 10)
    (report,) = guard.watcher.reports()
    for number in range(80):
        (root / f"p{number}" / "a.ipynb").write_bytes(notebook_bytes(str(number)))
    guard.until(lambda: len(guard.store.drafts) == 80, 20)
    print(json.dumps({"codes": sorted(guard.codes()), "watches": report.watches, "kept": len(guard.store.drafts)}))
"""


def test_at_the_limit_of_watches_it_says_so_and_sweeps(tmp_path: Path) -> None:
    script = (
        f"echo 50 > /proc/sys/user/max_inotify_watches && exec {sys.executable} -c '{_IN_A_SMALL_NAMESPACE}' \"$0\""
    )
    done = subprocess.run(
        ["unshare", "-Ur", "sh", "-c", script, str(tmp_path)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["watches"] <= 50, "the fault fired"
    assert "watch-limit" in answer["codes"]
    assert answer["kept"] == 80
