"""What names alone say."""

from __future__ import annotations

import pytest

from nbguard.names import checkpoint_of, is_entered_name, is_notebook_name, leftovers_of, notebook_of_leftover


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("eda.ipynb", True),
        ("two words.ipynb", True),
        ("new\nline.ipynb", True),
        ("-dash.ipynb", True),
        (":(top)x.ipynb", True),
        ("\udcff.ipynb", True),
        ("A-checkpoint.ipynb", True),
        ("sed.ipynb", True),
        (".ipynb", False),
        (".~eda.ipynb", False),
        (".hidden.ipynb", False),
        ("eda_tmp_jupytext_4711.ipynb", False),
        (".eda.ipynb.a1B2c3", False),
        ("sedAbCdEf", False),
        ("eda.ipynb.invalid", False),
        ("eda.ipynb~", False),
        ("eda.py", False),
    ],
)
def test_a_notebook_is_known_by_its_name(name: str, is_one: bool) -> None:
    assert is_notebook_name(name) is is_one


@pytest.mark.parametrize(
    ("name", "is_entered"),
    [("project", True), ("Trash can", True), (".git", False), (".Trash-1000", False), ("Trash", False)]
    + [(name, False) for name in (".ipynb_checkpoints", "node_modules", "site-packages", ".venv", ".hidden")],
)
def test_hidden_folders_trash_and_packages_are_not_entered(name: str, is_entered: bool) -> None:
    assert is_entered_name(name) is is_entered


def test_every_leftover_leads_back_to_its_notebook() -> None:
    for leftover in leftovers_of("/w/eda.ipynb"):
        assert notebook_of_leftover(leftover.rpartition("/")[2]) == "eda.ipynb"
    for other in (".~", "~", ".invalid", "eda.ipynb", ".~.hidden.ipynb", "notes~"):
        assert notebook_of_leftover(other) is None


def test_the_checkpoint_lies_where_jupyter_puts_it() -> None:
    assert checkpoint_of("/w/eda.ipynb") == "/w/.ipynb_checkpoints/eda-checkpoint.ipynb"
