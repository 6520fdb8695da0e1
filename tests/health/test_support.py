"""The report to paste keeps names to itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.health.support import reduce_names, reduce_path

_words = st.text("abcdefgh ü", min_size=2, max_size=9).map(lambda word: "x" + word)


@pytest.mark.parametrize(
    ("path", "reduced"),
    [
        ("/home/ada/work/churn model.ipynb", "~/w…/c….ipynb"),
        ("/home/ada", "~"),
        ("/home/adam/x", "/h…/a…/x…"),
        ("/data/projects", "/d…/p…"),
        ("/", "/"),
    ],
)
def test_a_path_is_reduced_to_first_letters(path: str, reduced: str) -> None:
    assert reduce_path(path, "/home/ada") == reduced


@given(folder=_words, name=_words)
def test_no_known_path_is_left_whole_anywhere_in_the_text(folder: str, name: str) -> None:
    root = f"/home/ada/{folder}"
    text = f"root {root}: ext4\n'{root}/{name}.ipynb' is emptied; see {root}/{name}.ipynb\n"
    reduced = reduce_names(text, [root, f"{root}/{name}.ipynb"], "/home/ada")
    assert root not in reduced
    assert f"{name}.ipynb" not in reduced
    assert "/home/ada" not in reduced


def test_a_notebook_nobody_listed_is_reduced_too() -> None:
    assert reduce_names("cannot read secret-plan.ipynb", [], "/root") == "cannot read s….ipynb"
