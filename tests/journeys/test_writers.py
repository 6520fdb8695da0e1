"""Every kind of program that writes notebooks: the state it leaves is kept, and its scaffolding is no notebook."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from nbguard.watch.settle import STREAM_CAP_SECONDS
from tests.helpers import notebook_bytes
from tests.journeys.guarded import Guarded, guarding, pause_until, sha256

OLD, NEW = notebook_bytes("old = 1", "x = 2"), notebook_bytes("new = 1", "x = 3", "y = 4")


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Generator[Guarded]:
    base = tmp_path_factory.mktemp("writers")
    # A sweep would find it all in the end: what is asked here is that the events are understood.
    with guarding(base, base / "work", tables={"intervals": {"sweep_seconds": 60.0}}) as guarded:
        yield guarded


Write = Callable[[Path, bytes, Path], None]
WRITERS: dict[str, Write] = {}


def writer(write: Write) -> Write:
    WRITERS[write.__name__.strip("_")] = write
    return write


@writer
def _truncate_and_write(path: Path, data: bytes, outside: Path) -> None:
    """nbformat.write, nbconvert --inplace, cp."""
    del outside
    path.write_bytes(data)


@writer
def _truncate_wait_and_write(path: Path, data: bytes, outside: Path) -> None:
    """VS Code on a slow disk: a reader sees nothing, then half of it."""
    del outside
    with open(path, "wb", buffering=0) as file:
        pause_until(time.monotonic() + 0.05)
        file.write(data[: len(data) // 2])
        pause_until(time.monotonic() + 0.05)
        file.write(data[len(data) // 2 :])


@writer
def _hidden_temporary_and_replace(path: Path, data: bytes, outside: Path) -> None:
    """Most editors: no close event on the notebook itself."""
    del outside
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data)
    temporary.replace(path)


@writer
def _temporary_outside_and_move_in(path: Path, data: bytes, outside: Path) -> None:
    """mv into the folder: one creation and nothing else."""
    (outside / "moving").write_bytes(data)
    (outside / "moving").replace(path)


@writer
def _vim_with_backup(path: Path, data: bytes, outside: Path) -> None:
    """vim, backupcopy=no: away with the old one, a new file, then the old one goes."""
    del outside
    backup = path.with_name(path.name + "~")
    if path.exists():
        path.rename(backup)
    path.write_bytes(data)
    backup.unlink(missing_ok=True)


@writer
def _unlink_and_write(path: Path, data: bytes, outside: Path) -> None:
    """git checkout: it is not there for a moment."""
    del outside
    path.unlink(missing_ok=True)
    pause_until(time.monotonic() + 0.002)
    path.write_bytes(data)


@writer
def _rsync(path: Path, data: bytes, outside: Path) -> None:
    del outside
    temporary = path.with_name(f".{path.name}.b2tIDM")
    temporary.write_bytes(data)
    os.utime(temporary, (1_000_000_000, 1_000_000_000))
    temporary.replace(path)


@writer
def _rsync_inplace(path: Path, data: bytes, outside: Path) -> None:
    """Written over without truncating, and the times of the source put on it."""
    del outside
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, data)
    os.ftruncate(fd, len(data))
    os.close(fd)
    os.utime(path, (1_000_000_000, 1_000_000_000))


@writer
def _sed(path: Path, data: bytes, outside: Path) -> None:
    del outside
    temporary = path.with_name("sedAb3dEf")
    temporary.write_bytes(data)
    temporary.replace(path)


@writer
def _jupytext(path: Path, data: bytes, outside: Path) -> None:
    """jupytext --sync: its temporary file ends in .ipynb."""
    del outside
    temporary = path.with_name(f"{path.stem}_tmp_jupytext_4711.ipynb")
    temporary.write_bytes(data)
    pause_until(time.monotonic() + 0.5)
    temporary.replace(path)


@writer
def _jupyter(path: Path, data: bytes, outside: Path) -> None:
    """Jupyter's own: a copy that ends in .ipynb, truncate, write, and the checkpoint."""
    del outside
    copy = path.with_name(f".~{path.name}")
    if path.exists():
        shutil.copyfile(path, copy)
    path.write_bytes(data)
    copy.unlink(missing_ok=True)
    checkpoint = path.parent / ".ipynb_checkpoints" / f"{path.stem}-checkpoint.ipynb"
    checkpoint.parent.mkdir(exist_ok=True)
    shutil.copyfile(path, checkpoint)


@writer
def _jupyter_heals(path: Path, data: bytes, outside: Path) -> None:
    """The server opens a broken notebook whose copy is good: the broken one is put away."""
    del outside
    copy = path.with_name(f".~{path.name}")
    copy.write_bytes(data)
    if path.exists():
        path.write_bytes(b"")
        path.rename(path.with_name(path.name + ".invalid"))
    copy.rename(path)


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_what_a_writer_leaves_is_kept_once(guard: Guarded, tmp_path: Path, write: Write) -> None:
    folder = Path(guard.roots[0]) / write.__name__
    folder.mkdir()
    path = folder / "a.ipynb"
    write(path, OLD, tmp_path)
    guard.until_kept(path, OLD, 10)
    write(path, NEW, tmp_path)
    guard.until_kept(path, NEW, 10)
    rows = guard.log(path)
    assert [row["sha256"] for row in rows] == [sha256(NEW), sha256(OLD)]
    assert [row["status"] for row in rows] == ["ok", "ok"]
    assert {row["path"] for row in rows} == {str(path)}


def test_no_writers_scaffolding_is_a_notebook_and_none_was_taken_for_deleted(guard: Guarded) -> None:
    written = {str(path) for path in Path(guard.roots[0]).glob("_*/a.ipynb")}
    assert len(written) == len(WRITERS)
    assert {row["path"] for row in guard.list()} == written
    assert guard.list("--deleted") == []


def test_git_checkout_in_the_users_own_repository_is_a_version_each_way(guard: Guarded) -> None:
    folder = Path(guard.roots[0]) / "repository"
    folder.mkdir()
    path = folder / "a.ipynb"

    def git(*words: str) -> None:
        identity = ("-c", "user.name=u", "-c", "user.email=u@example.org")
        subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    for branch, data in (("main", OLD), ("other", NEW)):
        if branch != "main":
            git("checkout", "-q", "-b", branch)
        path.write_bytes(data)
        git("add", "a.ipynb")
        git("commit", "-qm", branch)
        guard.until_kept(path, data)
    git("checkout", "-q", "main")
    guard.until_kept(path, OLD)
    git("checkout", "-q", "other")
    guard.until_kept(path, NEW)
    assert [row["sha256"] for row in guard.log(path)] == [sha256(data) for data in (NEW, OLD, NEW, OLD)]


def test_a_stream_of_writes_like_papermills_ends_in_its_last_state_and_no_torn_one(guard: Guarded) -> None:
    path = Path(guard.roots[0]) / "papermill.ipynb"
    begin, written = time.monotonic(), []
    for number in range(13):
        pause_until(begin + number * 0.09)
        written.append(notebook_bytes(*(f"cell = {n}" for n in range(number + 1)), outputs=True))
        path.write_bytes(b"")
        path.write_bytes(written[-1])
    assert time.monotonic() - begin < STREAM_CAP_SECONDS
    guard.until_kept(path, written[-1])
    wanted = [sha256(data) for data in written]
    rows = [row["sha256"] for row in reversed(guard.log(path))]
    assert rows == [digest for digest in wanted if digest in rows], "in order, and nothing torn"


def test_a_writer_that_holds_the_file_open_for_seconds_leaves_one_whole_version(guard: Guarded) -> None:
    path = Path(guard.roots[0]) / "slow.ipynb"
    path.write_bytes(OLD)
    guard.until_kept(path, OLD)
    half = threading.Event()

    def write() -> None:
        with open(path, "wb", buffering=0) as file:
            file.write(NEW[:100])
            half.set()
            pause_until(time.monotonic() + 3.0)
            file.write(NEW[100:])

    writing = threading.Thread(target=write)
    writing.start()
    assert half.wait(5)
    assert path.read_bytes() == NEW[:100], "the fault fired"
    assert guard.show(path, "last-good") == OLD
    writing.join()
    guard.until_kept(path, NEW)
    assert [row["status"] for row in guard.log(path) if row["sha256"] in (sha256(OLD), sha256(NEW))] == ["ok", "ok"]
    assert guard.show(path, "last-good") == NEW


def test_a_folder_made_and_filled_at_once_and_one_moved_in_are_kept(guard: Guarded, tmp_path: Path) -> None:
    root = Path(guard.roots[0])
    for number in range(20):
        path = root / f"made-{number}" / "deep" / "deeper" / "a.ipynb"
        path.parent.mkdir(parents=True)
        path.write_bytes(notebook_bytes(f"made = {number}"))
    outside = tmp_path / "project"
    (outside / "below").mkdir(parents=True)
    for name in ("a.ipynb", "below/b.ipynb"):
        (outside / name).write_bytes(notebook_bytes(name))
    outside.rename(root / "project")
    for number in range(20):
        guard.until_kept(root / f"made-{number}" / "deep" / "deeper" / "a.ipynb", notebook_bytes(f"made = {number}"))
    for name in ("a.ipynb", "below/b.ipynb"):
        guard.until_kept(root / "project" / name, notebook_bytes(name))
        (root / "project" / name).write_bytes(notebook_bytes(name, "again"))
        guard.until_kept(root / "project" / name, notebook_bytes(name, "again"))


def test_a_save_through_a_link_is_a_version_of_the_real_notebook_and_no_link_leads_out(
    guard: Guarded, tmp_path: Path
) -> None:
    folder = Path(guard.roots[0]) / "links"
    folder.mkdir()
    real, link, outside = folder / "real.ipynb", folder / "link.ipynb", tmp_path / "outside.ipynb"
    real.write_bytes(OLD)
    outside.write_bytes(OLD)
    link.symlink_to(real)
    (folder / "out.ipynb").symlink_to(outside)
    (folder / "around").symlink_to(folder)
    guard.until_kept(real, OLD)
    link.write_bytes(NEW)
    (folder / "out.ipynb").write_bytes(NEW)
    guard.until_kept(real, NEW)
    assert link.is_symlink()
    assert [row["path"] for row in guard.list() if row["path"].startswith((f"{folder}/", str(tmp_path)))] == [str(real)]


def test_a_notebook_that_becomes_a_folder_and_a_notebook_again_keeps_its_versions(guard: Guarded) -> None:
    path = Path(guard.roots[0]) / "shape.ipynb"
    path.write_bytes(OLD)
    guard.until_kept(path, OLD)
    path.unlink()
    path.mkdir()
    (path / "inner.ipynb").write_bytes(NEW)
    guard.until_kept(path / "inner.ipynb", NEW)
    shutil.rmtree(path)
    path.write_bytes(NEW)
    guard.until_kept(path, NEW)
    assert guard.show(path, "~0") == NEW
    assert sha256(OLD) in {row["sha256"] for row in guard.log(path)}
