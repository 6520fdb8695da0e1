"""Which notebook is meant by a name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbguard.errors import Ambiguous, NothingMatched, UsageError
from nbguard.recover.naming import find_notebook
from tests.helpers import notebook_bytes
from tests.library import MemoryLibrary


@pytest.fixture
def library(tmp_path: Path) -> MemoryLibrary:
    """Four notebooks: two called eda, one renamed, one whose name is not UTF-8."""
    library = MemoryLibrary()
    for name in ("a/eda.ipynb", "b/eda.ipynb", "a/old.ipynb", "a/\udcff\n.ipynb"):
        library.add(f"{tmp_path}/{name}", notebook_bytes(name.encode("utf-8", "replace").decode()))
    library.add(f"{tmp_path}/a/new.ipynb", notebook_bytes("moved"), renamed_from=f"{tmp_path}/a/old.ipynb")
    return library


@pytest.mark.parametrize(
    ("text", "cwd", "expected"),
    [
        ("{tmp}/a/eda.ipynb", "/", "a/eda.ipynb"),
        ("eda.ipynb", "{tmp}/a", "a/eda.ipynb"),
        ("./eda.ipynb", "{tmp}/b", "b/eda.ipynb"),
        ("../b/eda.ipynb", "{tmp}/a", "b/eda.ipynb"),
        ("b/eda.ipynb", "/", "b/eda.ipynb"),
        ("new.ipynb", "/", "a/new.ipynb"),
        ("{tmp}/a/old.ipynb", "/", "a/new.ipynb"),
        ("old.ipynb", "{tmp}/a", "a/new.ipynb"),
        ("\udcff\n.ipynb", "/", "a/\udcff\n.ipynb"),
    ],
)
def test_paths_tails_and_former_names(
    library: MemoryLibrary, tmp_path: Path, text: str, cwd: str, expected: str
) -> None:
    found = find_notebook(library, text.replace("{tmp}", str(tmp_path)), cwd.replace("{tmp}", str(tmp_path)))
    assert found.path == f"{tmp_path}/{expected}"
    assert found.versions[0].path == found.path


def test_an_ambiguous_tail_lists_the_candidates(library: MemoryLibrary, tmp_path: Path) -> None:
    with pytest.raises(Ambiguous, match=r"2 notebooks match eda\.ipynb") as caught:
        find_notebook(library, "eda.ipynb", "/")
    assert caught.value.exit_code == 1
    assert f"{tmp_path}/a/eda.ipynb\n{tmp_path}/b/eda.ipynb" in caught.value.hint


def test_a_tail_ends_at_a_folder(library: MemoryLibrary) -> None:
    with pytest.raises(NothingMatched):
        find_notebook(library, "w.ipynb", "/")


def test_a_present_file_wins_over_a_tail(library: MemoryLibrary, tmp_path: Path) -> None:
    (tmp_path / "new.ipynb").write_bytes(b"never kept")
    with pytest.raises(NothingMatched, match=r"nothing was kept of new\.ipynb yet") as caught:
        find_notebook(library, "new.ipynb", str(tmp_path))
    assert "nbguard snapshot new.ipynb" in caught.value.hint


def test_near_names_are_offered(library: MemoryLibrary) -> None:
    with pytest.raises(NothingMatched) as caught:
        find_notebook(library, "Nwe.ipynb", "/")
    assert "new.ipynb" in caught.value.hint


def test_a_folder_is_no_notebook(library: MemoryLibrary, tmp_path: Path) -> None:
    with pytest.raises(NothingMatched, match="is a folder"):
        find_notebook(library, ".", str(tmp_path))


def test_a_working_folder_behind_a_symlink(library: MemoryLibrary, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    assert find_notebook(library, "eda.ipynb", str(tmp_path / "link")).path == f"{tmp_path}/a/eda.ipynb"


@pytest.mark.parametrize("text", ["", "a\0b"])
def test_no_name_is_wrong_usage(library: MemoryLibrary, text: str) -> None:
    with pytest.raises(UsageError):
        find_notebook(library, text, os.sep)
