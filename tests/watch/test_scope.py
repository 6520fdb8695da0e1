"""What is watched under a root."""

from __future__ import annotations

import pytest

from nbguard.watch.scope import Scope, closed_by_contents


@pytest.mark.parametrize(
    ("path", "is_covered"),
    [
        ("/w/a.ipynb", True),
        ("/w/deep/er/a.ipynb", True),
        ("/w/.hidden/a.ipynb", False),
        ("/w/deep/.git/er/a.ipynb", False),
        ("/w/.ipynb_checkpoints/a-checkpoint.ipynb", False),
        ("/w/.Trash-0/files/a.ipynb", False),
        ("/w/env/lib/python3.11/site-packages/p/a.ipynb", False),
        ("/w/deep/.~a.ipynb", False),
        ("/w/scratch/a.ipynb", False),
        ("/w/draft-a.ipynb", False),
        ("/w/deep/draft-a.ipynb", False),
        ("/w/kept/a.ipynb", True),
        ("/w/.nbguard/spool/a.ipynb", False),
        ("/w/store/spool/a.ipynb", False),
        ("/w/store/mine/a.ipynb", True),
        ("/wider/a.ipynb", False),
        ("/a.ipynb", False),
        ("/w", False),
    ],
)
def test_a_path_is_covered_when_every_folder_to_it_is_entered(path: str, is_covered: bool) -> None:
    scope = Scope("/w", ignore=["/scratch/", "draft-*.ipynb"], own_folders=["/w/.nbguard", "/w/store/spool"])
    assert scope.covers(path) is is_covered
    assert scope.covers(path) is is_covered, "and again, from memory"


@pytest.mark.parametrize("root", ["/home/ada/.hidden/work", "/w/node_modules", "/", "/nb/home/work"])
def test_the_root_itself_is_entered_wherever_it_lies(root: str) -> None:
    scope = Scope(root, own_folders=["/nb/home", root])
    prefix = root if root.endswith("/") else root + "/"
    assert scope.covers(prefix + "a.ipynb")
    assert scope.covers(prefix + "below/a.ipynb")


def test_a_folder_found_to_be_an_environment_closes_all_below_it() -> None:
    scope = Scope("/w")
    assert scope.covers("/w/odd/deep/a.ipynb")
    assert not scope.covers("/w/odd/deep/a.ipynb", {"/w/odd"})
    assert scope.covers("/w/even/a.ipynb", {"/w/odd"})


def test_a_later_pattern_can_take_back_an_earlier_one() -> None:
    scope = Scope("/w", ignore=["*.ipynb", "!kept.ipynb"])
    assert not scope.covers("/w/a.ipynb")
    assert scope.covers("/w/kept.ipynb")


def test_an_environment_is_known_by_what_lies_in_it() -> None:
    assert closed_by_contents("venv", {"pyvenv.cfg", "bin", "demo.ipynb"}) is True
    assert closed_by_contents("miniforge", {"conda-meta", "bin"}) is True
    assert closed_by_contents("project", {"bin", "lib", "a.ipynb"}) == frozenset()


def test_an_environment_made_inside_a_project_does_not_close_the_project() -> None:
    closed = closed_by_contents("project", {"pyvenv.cfg", "bin", "lib", "a.ipynb", "notebooks"})
    assert isinstance(closed, frozenset)
    assert {"bin", "lib"} <= closed
    assert "notebooks" not in closed
