"""Real events of real files, translated."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from nbguard.clock import SystemClock
from nbguard.model import NoticeKind, SaveNotice
from nbguard.watch.observer import EventSource, LostEvents, Translator
from nbguard.watch.scope import Scope
from tests.helpers import poll


class Listener:
    """An event source over one folder, and what it told."""

    def __init__(self, root: Path) -> None:
        self.notices: list[SaveNotice] = []
        self.folders: list[str] = []
        self.root = root
        self.fails = False
        scope = Scope(str(root))
        self.translator = Translator(
            covers=scope.covers,
            put=self._put,
            folder_changed=self.folders.append,
            clock=SystemClock(),
            real_root=os.path.realpath(root),
            named_root=str(root),
        )
        self.source = EventSource(self.translator, os.path.realpath(root), scope)

    def _put(self, notice: SaveNotice) -> None:
        if self.fails:
            raise RuntimeError("a fault in the handler")
        self.notices.append(notice)

    def told(self, kind: NoticeKind, name: str) -> bool:
        return any(n.kind is kind and n.path == str(self.root / name) for n in self.notices)

    def hears(self, kind: NoticeKind, name: str) -> None:
        poll(lambda: self.told(kind, name), 5)


@pytest.fixture
def listener(tmp_path: Path) -> Generator[Listener]:
    root = tmp_path / "root"
    root.mkdir()
    listener = Listener(root)
    listener.source.start()
    yield listener
    listener.source.stop()


def test_a_save_in_place_is_heard_when_it_is_closed(listener: Listener) -> None:
    (listener.root / "a.ipynb").write_text("{}")
    listener.hears(NoticeKind.CLOSED, "a.ipynb")


def test_a_move_into_place_is_heard_with_its_old_name(listener: Listener) -> None:
    (listener.root / "a.ipynb").write_text("{}")
    (listener.root / "a.ipynb").rename(listener.root / "b.ipynb")
    listener.hears(NoticeKind.MOVED_IN, "b.ipynb")
    listener.hears(NoticeKind.GONE, "a.ipynb")
    (notice,) = [n for n in listener.notices if n.kind is NoticeKind.MOVED_IN]
    assert notice.renamed_from == str(listener.root / "a.ipynb")


def test_a_temporary_file_moved_over_a_notebook_is_no_rename(listener: Listener) -> None:
    (listener.root / ".a.tmp").write_text("{}")
    (listener.root / ".a.tmp").rename(listener.root / "a.ipynb")
    listener.hears(NoticeKind.MOVED_IN, "a.ipynb")
    assert [n.renamed_from for n in listener.notices] == [None]


def test_a_notebook_moved_away_to_a_backup_name_is_gone_from_its_own(listener: Listener) -> None:
    (listener.root / "a.ipynb").write_text("{}")
    (listener.root / "a.ipynb").rename(listener.root / "a.ipynb~")
    listener.hears(NoticeKind.GONE, "a.ipynb")
    assert not any(n.kind is NoticeKind.MOVED_IN for n in listener.notices)


def test_moves_in_and_out_of_the_tree_are_heard(listener: Listener, tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text("{}")
    (tmp_path / "a.ipynb").rename(listener.root / "a.ipynb")
    listener.hears(NoticeKind.CREATED, "a.ipynb")
    (listener.root / "a.ipynb").rename(tmp_path / "a.ipynb")
    listener.hears(NoticeKind.GONE, "a.ipynb")


def test_new_folders_are_told_and_watched(listener: Listener) -> None:
    deep = listener.root / "a" / "b" / "c"
    deep.mkdir(parents=True)
    poll(lambda: not listener.source.unwatched([str(deep)]), 5)
    poll(lambda: str(listener.root / "a") in listener.folders, 5)
    (deep / "n.ipynb").write_text("{}")
    listener.hears(NoticeKind.CLOSED, "a/b/c/n.ipynb")


@pytest.mark.parametrize("name", ["new\nline", "-dash", ":(top)x", "'quo\"tes", "\udcff", "ü" * 120, "\u200bzero"])
def test_every_name_that_a_disk_can_hold_is_told(listener: Listener, name: str) -> None:
    (listener.root / f"{name}.ipynb").write_text("{}")
    listener.hears(NoticeKind.CLOSED, f"{name}.ipynb")


def test_folders_that_are_not_entered_have_no_watch(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("work/deep", "node_modules/deep", ".git/objects/aa", "venv/lib", "project/lib", "project/nbs"):
        (root / name).mkdir(parents=True)
    for name in ("venv", "project"):
        (root / name / "pyvenv.cfg").write_text("")
    listener = Listener(root)
    listener.source.start()
    try:
        (root / "later" / "node_modules" / "deep").mkdir(parents=True)
        (root / "later" / "work").mkdir()
        wanted = [".", "work", "work/deep", "venv", "project", "project/nbs", "later", "later/work"]
        poll(lambda: not listener.source.unwatched([str(root / name) for name in wanted]), 5)
        assert listener.source.state().watches == len(wanted)
        (root / "later" / "work" / "a.ipynb").write_text("{}")
        listener.hears(NoticeKind.CLOSED, "later/work/a.ipynb")
    finally:
        listener.source.stop()


def test_a_folder_renamed_into_scope_is_watched_and_out_of_it_not_heard(listener: Listener) -> None:
    (listener.root / ".hidden" / "deep").mkdir(parents=True)
    (listener.root / ".hidden").rename(listener.root / "shown")
    poll(lambda: not listener.source.unwatched([str(listener.root / "shown" / "deep")]), 5)
    (listener.root / "shown" / "deep" / "a.ipynb").write_text("{}")
    listener.hears(NoticeKind.CLOSED, "shown/deep/a.ipynb")
    (listener.root / "shown").rename(listener.root / ".hidden")
    (listener.root / ".hidden" / "deep" / "b.ipynb").write_text("{}")
    (listener.root / "last.ipynb").write_text("{}")
    listener.hears(NoticeKind.CLOSED, "last.ipynb")
    assert {n.kind for n in listener.notices if n.path.endswith("b.ipynb")} <= {NoticeKind.GONE}


def test_what_is_no_notebook_is_not_told(listener: Listener) -> None:
    for name in (".~a.ipynb", "a.txt", ".git/a.ipynb", ".ipynb_checkpoints/a-checkpoint.ipynb"):
        (listener.root / name).parent.mkdir(exist_ok=True)
        (listener.root / name).write_text("{}")
    (listener.root / "last.ipynb").write_text("{}")
    listener.hears(NoticeKind.CLOSED, "last.ipynb")
    assert {n.path for n in listener.notices} == {str(listener.root / "last.ipynb")}


def test_paths_are_told_under_the_name_the_user_gave(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "named").symlink_to(tmp_path / "real")
    listener = Listener(tmp_path / "named")
    listener.source.start()
    try:
        (tmp_path / "real" / "a.ipynb").write_text("{}")
        listener.hears(NoticeKind.CLOSED, "a.ipynb")
        assert listener.source.unwatched([str(tmp_path / "named"), str(tmp_path / "named" / "none")]) == {
            str(tmp_path / "named" / "none")
        }
    finally:
        listener.source.stop()


def test_a_fault_in_handling_does_not_end_the_events(listener: Listener) -> None:
    listener.fails = True
    (listener.root / "a.ipynb").write_text("{}")
    poll(lambda: listener.translator.faults, 5)
    listener.fails = False
    (listener.root / "b.ipynb").write_text("{}")
    listener.hears(NoticeKind.CLOSED, "b.ipynb")
    state = listener.source.state()
    assert state.alive
    assert state.faults > 0


def test_a_missing_root_is_an_error_that_leaves_no_thread(tmp_path: Path) -> None:
    listener = Listener(tmp_path / "nowhere")
    before = threading.active_count()
    with pytest.raises(FileNotFoundError):
        listener.source.start()
    poll(lambda: threading.active_count() <= before, 5)
    assert not listener.source.state().alive


def test_a_deleted_root_shows_as_a_dead_thread(listener: Listener) -> None:
    assert listener.source.state().alive
    listener.root.rmdir()
    poll(lambda: not listener.source.state().alive, 5)
    assert "emitter" in listener.source.state().reason


def test_stopping_twice_is_harmless(listener: Listener) -> None:
    listener.source.stop()
    listener.source.stop()
    assert listener.source.state().reason == "not started"


def test_lost_events_are_heard_from_the_log() -> None:
    import logging

    lost: list[bool] = []
    handler = LostEvents(lambda: lost.append(True))
    handler.attach()
    try:
        logging.getLogger("watchdog.observers.inotify_c").warning(
            "Inotify queue overflowed; filesystem events were lost"
        )
        logging.getLogger("watchdog.observers.inotify_c").warning("something else")
    finally:
        handler.detach()
    logging.getLogger("watchdog.observers.inotify_c").warning("Inotify queue overflowed again")
    assert lost == [True]
