"""Undo: the last restore in place, once, and nothing lost by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbguard.errors import NothingMatched, Refused
from nbguard.model import Version
from nbguard.recover import placing
from nbguard.recover.folder import Folder
from nbguard.recover.when import Nth
from tests.helpers import notebook_bytes
from tests.recover.conftest import Bench

OLD, NEW = notebook_bytes("a = 1"), notebook_bytes("a = 2")


@pytest.fixture
def path(bench: Bench) -> Path:
    bench.save("eda.ipynb", OLD)
    bench.save("eda.ipynb", NEW)
    return bench.root / "eda.ipynb"


def test_the_old_bytes_come_back(bench: Bench, path: Path) -> None:
    bench.restore("eda.ipynb", in_place=True)
    done = bench.undo()
    assert path.read_bytes() == NEW
    assert not done.plan.changed_since


def test_a_second_undo_has_nothing_to_do(bench: Bench, path: Path) -> None:
    bench.restore("eda.ipynb", in_place=True)
    bench.undo()
    with pytest.raises(NothingMatched, match="was undone already"):
        bench.undo()
    assert path.read_bytes() == NEW


def test_without_a_restore_there_is_nothing_to_undo(bench: Bench, path: Path) -> None:
    bench.restore("eda.ipynb")  # beside: nothing was replaced
    with pytest.raises(NothingMatched, match="no restore in place"):
        bench.undo()


def test_what_was_written_since_is_kept_first(bench: Bench, path: Path) -> None:
    bench.restore("eda.ipynb", in_place=True)
    path.write_bytes(b"worked on since")
    done = bench.undo()
    assert done.plan.changed_since
    assert done.kept is not None
    assert bench.library.read(done.kept) == b"worked on since"
    assert path.read_bytes() == NEW


def test_a_file_removed_since_comes_back(bench: Bench, path: Path) -> None:
    bench.restore("eda.ipynb", in_place=True)
    path.unlink()
    bench.undo()
    assert path.read_bytes() == NEW


def test_what_the_restore_created_is_removed(bench: Bench, path: Path) -> None:
    path.unlink()
    bench.restore("eda.ipynb", in_place=True)
    assert path.read_bytes() == NEW
    done = bench.undo()
    assert not path.exists()
    assert done.kept is not None
    assert bench.library.read(done.kept) == NEW


def test_but_not_if_it_was_changed(bench: Bench, path: Path) -> None:
    path.unlink()
    bench.restore("eda.ipynb", in_place=True)
    path.write_bytes(b"worked on since")
    with pytest.raises(Refused, match="is not removed"):
        bench.undo()
    assert path.read_bytes() == b"worked on since"


def test_what_it_created_and_is_gone_again_counts_as_undone(bench: Bench, path: Path) -> None:
    path.unlink()
    bench.restore("eda.ipynb", in_place=True)
    path.unlink()
    assert bench.undo().plan.nothing_to_do
    with pytest.raises(NothingMatched):
        bench.undo()


def test_a_restore_that_died_before_writing_undoes_to_nothing(
    bench: Bench, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(BaseException):
        pass

    def die(*arguments: object, **options: object) -> str:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(Folder, "write_new", die)
        with pytest.raises(Died):
            bench.restore("eda.ipynb", in_place=True)
    assert bench.undo().plan.nothing_to_do
    assert path.read_bytes() == NEW


def test_a_symlink_put_there_since_is_not_written_through(bench: Bench, path: Path, tmp_path: Path) -> None:
    bench.restore("eda.ipynb", in_place=True)
    (tmp_path / "victim").write_bytes(b"untouched")
    path.unlink()
    path.symlink_to(tmp_path / "victim")
    with pytest.raises(Refused, match="symlink"):
        bench.undo()
    assert (tmp_path / "victim").read_bytes() == b"untouched"


def test_a_journal_cut_short_is_read_up_to_there_and_continued(bench: Bench, path: Path, tmp_path: Path) -> None:
    bench.restore("eda.ipynb", in_place=True)
    journal = tmp_path / "state/restores.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole + whole[: len(whole) // 2])
    bench.undo()
    assert path.read_bytes() == NEW
    with pytest.raises(NothingMatched, match="undone already"):
        bench.undo()


def test_a_version_that_was_purged_since_is_named(bench: Bench, path: Path) -> None:
    outcome = bench.restore("eda.ipynb", in_place=True)
    assert outcome.before is not None
    gone: Version = outcome.before
    bench.library.versions = [version for version in bench.library.versions if version.id != gone.id]
    with pytest.raises(NothingMatched, match=gone.id[:12]):
        bench.undo()


def test_only_the_last_restore_is_undone(bench: Bench, path: Path) -> None:
    bench.save("other.ipynb", OLD)
    bench.save("other.ipynb", NEW)
    bench.restore("eda.ipynb", in_place=True)
    bench.restore("other.ipynb", Nth(1), in_place=True)
    bench.undo()
    assert (bench.root / "other.ipynb").read_bytes() == NEW
    assert path.read_bytes() == OLD
    with pytest.raises(NothingMatched):
        bench.undo()
    assert placing.digest_on_disk(str(path))
