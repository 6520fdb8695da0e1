"""The sweep finds every change, whatever the events said, and costs next to nothing when there is none."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbguard.clock import SystemClock
from nbguard.heads import Heads
from nbguard.model import Head, Moment, NoticeKind, Signature, Status
from nbguard.watch.scope import Scope
from nbguard.watch.sweep import Sweeper, Swept
from tests.memory import HandClock
from tests.powers import without_root_powers


def keep(heads: Heads, path: str) -> None:
    """Remember ``path`` as it is now, as the keeper would."""
    status = os.lstat(path)
    heads.put(
        Head(
            path=path,
            notebook="n",
            version="v",
            sha256="0" * 64,
            signature=Signature(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns),
            moment=Moment(1, 1, 1),
            status=Status.OK,
            parent_device=status.st_dev,
        )
    )


def names(swept: Swept, root: Path, kind: NoticeKind = NoticeKind.SWEPT) -> list[str]:
    """The notebooks of that kind, relative to the root, sorted."""
    return sorted(os.path.relpath(found.path, root) for found in swept.found if found.kind is kind)


def settled(sweeper: Sweeper, heads: Heads) -> None:
    """Sweep until nothing is new."""
    for found in sweeper.sweep(full=True).found:
        if found.kind is NoticeKind.SWEPT:
            keep(heads, found.path)


@pytest.fixture
def heads() -> Heads:
    return Heads()


def sweeper_of(root: Path, heads: Heads, *, ignore: tuple[str, ...] = ()) -> Sweeper:
    return Sweeper(Scope(str(root), ignore=ignore), heads, SystemClock())


def write(path: Path, text: str = "{}") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_first_sweep_finds_all_notebooks_the_newest_first(tmp_path: Path, heads: Heads) -> None:
    for number, name in enumerate(["old.ipynb", "deep/er/new.ipynb", "mid.ipynb"]):
        os.utime(write(tmp_path / name), (0, [10, 30, 20][number]))
    write(tmp_path / "notes.txt")
    swept = sweeper_of(tmp_path, heads).sweep(full=True)
    assert [os.path.basename(found.path) for found in swept.found] == ["new.ipynb", "mid.ipynb", "old.ipynb"]


def test_what_is_out_of_scope_is_not_found(tmp_path: Path, heads: Heads) -> None:
    for name in (".git/a", "node_modules/a", ".ipynb_checkpoints/a", "lib/site-packages/a", ".Trash-0/a", "out/a"):
        write(tmp_path / f"{name}.ipynb")
    write(tmp_path / "venv" / "pyvenv.cfg")
    write(tmp_path / "venv" / "demo.ipynb")
    write(tmp_path / "forge" / "conda-meta" / "history")
    write(tmp_path / "forge" / "demo.ipynb")
    write(tmp_path / "kept.ipynb")
    assert names(sweeper_of(tmp_path, heads, ignore=("out/",)).sweep(full=True), tmp_path) == ["kept.ipynb"]


def test_a_project_that_is_an_environment_too_is_watched(tmp_path: Path, heads: Heads) -> None:
    write(tmp_path / "project" / "pyvenv.cfg")
    write(tmp_path / "project" / "lib" / "x.ipynb")
    write(tmp_path / "project" / "a.ipynb")
    write(tmp_path / "project" / "nbs" / "b.ipynb")
    sweeper = sweeper_of(tmp_path, heads)
    for full in (True, False):
        assert names(sweeper.sweep(full=full), tmp_path) == ["project/a.ipynb", "project/nbs/b.ipynb"]
    assert str(tmp_path / "project" / "lib") in sweeper.closed


def test_symlinks_are_not_followed(tmp_path: Path, heads: Heads) -> None:
    outside = tmp_path / "outside"
    root = tmp_path / "root"
    write(outside / "theirs.ipynb")
    real = write(root / "real.ipynb")
    (root / "link.ipynb").symlink_to(real)
    (root / "away.ipynb").symlink_to(outside / "theirs.ipynb")
    (root / "folder").symlink_to(outside)
    (root / "loop").symlink_to(root)
    assert names(sweeper_of(root, heads).sweep(full=True), root) == ["real.ipynb"]


def test_a_root_reached_through_a_symlink_is_swept(tmp_path: Path, heads: Heads) -> None:
    write(tmp_path / "real" / "a.ipynb")
    (tmp_path / "named").symlink_to(tmp_path / "real")
    sweeper = sweeper_of(tmp_path / "named", heads)
    for full in (True, False):
        assert [found.path for found in sweeper.sweep(full=full).found] == [str(tmp_path / "named" / "a.ipynb")]


def test_when_nothing_changed_no_folder_is_listed(tmp_path: Path, heads: Heads) -> None:
    for name in ("a.ipynb", "deep/b.ipynb"):
        write(tmp_path / name)
    clock = HandClock()
    clock.seconds = 10 * 365 * 86_400.0  # long after anything was written here
    sweeper = Sweeper(Scope(str(tmp_path)), heads, clock)
    settled(sweeper, heads)
    assert sweeper.sweep(full=True).listed == 2
    swept = sweeper.sweep(full=False)
    assert (swept.listed, swept.found) == (0, [])


def test_a_folder_listed_right_after_a_change_is_listed_again(tmp_path: Path, heads: Heads) -> None:
    sweeper = sweeper_of(tmp_path, heads)
    sweeper.sweep(full=True)
    assert sweeper.sweep(full=False).listed == 1, "a later change could have left the same time"


def test_a_change_that_keeps_size_and_mtime_is_found(tmp_path: Path, heads: Heads) -> None:
    path = write(tmp_path / "a.ipynb", "{1}")
    sweeper = sweeper_of(tmp_path, heads)
    settled(sweeper, heads)
    before = path.stat()
    path.write_text("{2}")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert names(sweeper.sweep(full=False), tmp_path) == ["a.ipynb"]


def test_a_doubtful_signature_is_looked_at_again(tmp_path: Path, heads: Heads) -> None:
    path = write(tmp_path / "a.ipynb")
    sweeper = sweeper_of(tmp_path, heads)
    settled(sweeper, heads)
    head = heads.get(str(path))
    assert head is not None
    heads.put(Head(**{name: getattr(head, name) for name in head.__slots__} | {"signature": None}))
    assert names(sweeper.sweep(full=False), tmp_path) == ["a.ipynb"]


def test_what_is_not_kept_yet_is_found_at_every_sweep(tmp_path: Path, heads: Heads) -> None:
    write(tmp_path / "a.ipynb")
    sweeper = sweeper_of(tmp_path, heads)
    assert [names(sweeper.sweep(full=full), tmp_path) for full in (True, False, False)] == [["a.ipynb"]] * 3


@pytest.mark.parametrize("replacement", ["nothing", "folder", "symlink"])
def test_a_notebook_that_is_none_any_more_is_gone(tmp_path: Path, heads: Heads, replacement: str) -> None:
    path = write(tmp_path / "a.ipynb")
    sweeper = sweeper_of(tmp_path, heads)
    settled(sweeper, heads)
    path.unlink()
    if replacement == "folder":
        path.mkdir()
    elif replacement == "symlink":
        path.symlink_to(tmp_path / "b.ipynb")
    swept = sweeper.sweep(full=False)
    assert names(swept, tmp_path, NoticeKind.GONE) == ["a.ipynb"]
    assert (swept.gone, swept.known_before) == (1, 1)


def test_a_notebook_ignored_from_now_on_is_not_reported_gone(tmp_path: Path, heads: Heads) -> None:
    path = write(tmp_path / "a.ipynb")
    settled(sweeper_of(tmp_path, heads), heads)
    path.unlink()
    assert sweeper_of(tmp_path, heads, ignore=("a.ipynb",)).sweep(full=True).found == []


def test_a_folder_moved_in_is_found_by_one_look_at_it(tmp_path: Path, heads: Heads) -> None:
    root = tmp_path / "root"
    write(root / "a.ipynb")
    sweeper = sweeper_of(root, heads)
    settled(sweeper, heads)
    write(tmp_path / "elsewhere" / "deep" / "b.ipynb")
    (tmp_path / "elsewhere").rename(root / "moved")
    assert names(sweeper.sweep_folder(str(root / "moved")), root) == ["moved/deep/b.ipynb"]
    assert sweeper.sweep_folder(str(root / ".hidden")).listed == 0


def test_leftovers_lead_to_their_notebook(tmp_path: Path, heads: Heads) -> None:
    for name in (".~a.ipynb", "b.ipynb~", "c.ipynb.invalid"):
        write(tmp_path / name)
    swept = sweeper_of(tmp_path, heads).sweep(full=True)
    assert sorted(os.path.basename(path) for path in swept.leftovers) == ["a.ipynb", "b.ipynb", "c.ipynb"]
    assert swept.found == []


def test_the_same_files_under_a_new_device_number_are_not_read_again(tmp_path: Path, heads: Heads) -> None:
    path = write(tmp_path / "a.ipynb")
    sweeper = sweeper_of(tmp_path, heads)
    settled(sweeper, heads)
    head = heads.get(str(path))
    assert head is not None
    assert head.signature is not None
    device, signature = head.signature.device, head.signature
    before = Signature(device + 99, signature.inode, signature.size, signature.mtime_ns, signature.ctime_ns)
    fields = {name: getattr(head, name) for name in head.__slots__}
    heads.put(Head(**fields | {"signature": before, "parent_device": device + 99}))
    assert sweeper.sweep(full=False).found == []
    assert sweeper.follow_device(device + 99) == device
    again = heads.get(str(path))
    assert again is not None
    assert again.parent_device == device


def test_an_unreadable_folder_is_reported_until_it_can_be_read(tmp_path: Path, heads: Heads) -> None:
    folder = write(tmp_path / "shut" / "a.ipynb").parent
    sweeper = sweeper_of(tmp_path, heads)
    settled(sweeper, heads)
    folder.chmod(0)
    try:
        with without_root_powers():
            for full in (False, False, True, False):
                swept = sweeper.sweep(full=full)
                assert str(folder) in swept.unreadable
                assert swept.found == []
    finally:
        folder.chmod(0o700)
    swept = sweeper.sweep(full=False)
    assert (swept.unreadable, swept.found) == ([], [])


_numbers = itertools.count()
_places = st.sampled_from(["", "p", "p/q", "r"])
_file_names = st.sampled_from(["a.ipynb", "b.ipynb"])
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), _places, _file_names),
        st.tuples(st.just("unlink"), _places, _file_names),
        st.tuples(st.just("rename"), _places, _file_names, _places, _file_names),
        st.tuples(st.just("rmtree"), st.sampled_from(["p", "p/q", "r"])),
        st.tuples(st.just("move"), st.sampled_from(["p", "r"]), st.sampled_from(["s", "p/t"])),
        st.tuples(st.just("sweep"), st.booleans()),
    ),
    max_size=25,
)


def _act(root: Path, step: tuple[object, ...]) -> None:
    """Do one thing to the tree; what cannot be done is not done."""
    name, *arguments = (str(part) for part in step)
    try:
        if name == "write":
            write(root / arguments[0] / arguments[1], "{}" + "x" * (next(_numbers) % 7))
        elif name == "unlink":
            (root / arguments[0] / arguments[1]).unlink()
        elif name == "rename":
            (root / arguments[0] / arguments[1]).rename(root / arguments[2] / arguments[3])
        elif name == "rmtree":
            shutil.rmtree(root / arguments[0])
        elif name == "move":
            (root / arguments[0]).rename(root / arguments[1])
    except OSError:
        pass


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_steps, full=st.booleans())
def test_after_any_story_a_sweep_finds_exactly_what_differs(
    tmp_path: Path, steps: list[tuple[object, ...]], full: bool
) -> None:
    root = tmp_path / f"root{next(_numbers)}"
    root.mkdir()
    heads = Heads()
    sweeper = sweeper_of(root, heads)
    for step in steps:
        if step[0] == "sweep":
            _keep_what_is_found(sweeper.sweep(full=bool(step[1])), heads)
        else:
            _act(root, step)
    known = {head.path: head.signature for head in heads.alive()}
    there = {str(path): _signature(path) for path in root.rglob("*.ipynb")}
    swept = sweeper.sweep(full=full)
    assert {found.path for found in swept.found if found.kind is NoticeKind.SWEPT} == {
        path for path, signature in there.items() if known.get(path) != signature
    }
    assert {found.path for found in swept.found if found.kind is NoticeKind.GONE} == known.keys() - there.keys()
    assert sweeper.notebooks == len(there)


def _signature(path: Path) -> Signature:
    status = os.lstat(path)
    return Signature(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _keep_what_is_found(swept: Swept, heads: Heads) -> None:
    for found in swept.found:
        if found.kind is NoticeKind.SWEPT:
            keep(heads, found.path)
        else:
            heads.drop(found.path)
