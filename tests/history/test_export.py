"""A session as a file: real jupytext opens the .py to the same cells, real nbformat finds nothing wrong."""

from __future__ import annotations

import ast
import json
from datetime import UTC, datetime

import jupytext
import nbformat
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nbguard.history.export import ExportedCell, as_notebook, as_percent

NOW = datetime(2026, 11, 21, tzinfo=UTC)

# Lines that jupytext does something with, alone or between others.
_LINES = [
    *r"""
x = 1|def f():|    return 'don\'t'|é ☃|%matplotlib inline|  %time x|%cd ~|%timeit f('''|%lsmagic?
%x # noescape|# escape|%|!ls|!!ls|! ls -la|!{cmd}|!ls \|x?|?x|df.head?|x = 'a?'|really?|# really?
a?  |files = !ls|a,b = !ls|x.y = !ls|a = %pwd|ls|cd ..|cat x|cat = 3|# cd there|# !ls|# %x|# # %x
%%bash|%%bash -e|%%time|%%html|%%writefile x.py|%%%| %%bash|%%|%% foo|#%%|# %%|# %% foo
# %% [markdown]|# In[3]:|In[3]:|<codecell>|# <codecell>|# +|#+ x|- item|---|# ---|#|# |'|"|'''
r'''|s = 'it\'s'|   |# -*- coding: utf-8 -*-|#!/bin/sh|!|?|{
""".replace("\n", "|").split("|"),
    '"""',
    '""" # %% x',
    'y = """abc"""',
    'x = \'"""\'',
    """print(\'\'\'a","b\'\'\')""",
    "\t",
]
_SOURCES = st.one_of(
    st.lists(st.sampled_from(_LINES), min_size=1, max_size=5).map("\n".join),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), max_size=60),
)


def cells(*sources: str) -> list[ExportedCell]:
    return [ExportedCell(source, line, NOW) for line, source in enumerate(sources, 1)]


def opened(text: str) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in jupytext.reads(text, fmt="py").cells]


def check(*sources: str) -> str:
    """AssertionError unless jupytext opens exactly these; returns what stands below the header."""
    written = as_percent(cells(*sources))
    if not written.inexact:
        assert opened(written.text) == [("code", source) for source in sources]
    return written.text.split("# ---\n\n", 1)[-1]


@settings(max_examples=150, deadline=None)
@given(st.lists(_SOURCES, min_size=1, max_size=4))
@example(["print(1)\n", "# %% x\n%% y", "'''"])
def test_jupytext_opens_the_same_cells(sources: list[str]) -> None:
    check(*sources)


@pytest.mark.long
@settings(max_examples=8000, deadline=None)
@given(st.lists(_SOURCES, min_size=1, max_size=5))
def test_jupytext_opens_the_same_cells_whatever_they_are(sources: list[str]) -> None:
    check(*sources)


@pytest.mark.parametrize(
    ("source", "written"),
    [
        ("x = 1", "# %%\nx = 1\n"),
        ("", "# %%\n"),
        ("%matplotlib inline\nimport numpy as np", "# %%\n# %matplotlib inline\nimport numpy as np\n"),
        ("if x:\n    !ls\nfiles = !ls", "# %%\nif x:\n    # !ls\n# files = !ls\n"),
        ("df.head?", "# %%\n# df.head?\n"),
        ("%%bash\nls -la", '# %% active="ipynb"\n# %%bash\n# ls -la\n'),
        ("x = 1\n# %% not a cell\ny = 2", '# %% active="ipynb"\n# x = 1\n# # %% not a cell\n# y = 2\n'),
        ("x = 1\n\n", '# %% active="ipynb"\n# x = 1\n# \n# \n'),
        ("%%latex\n%% a comment", '# %% active="ipynb"\n"""\n%%latex\n%% a comment\n"""\n'),
        (
            'def f():\n    """Don\'t.\n\n    # %% text\n    """',
            '# %%\ndef f():\n    """Don\'t.\n\n    # %% text\n    """\n',
        ),
        ("# is it?", "# %%\n# is it?\n"),
    ],
)
def test_each_cell_is_written_the_plainest_way_that_gives_it_back(source: str, written: str) -> None:
    assert check(source) == written


def test_a_file_without_magics_only_is_python_that_runs() -> None:
    text = as_percent(cells("%matplotlib inline\nx = 1", "!ls", "%%bash\nls", "y = x + 1")).text
    ast.parse(text)
    namespace: dict[str, int] = {}
    exec(text, namespace)
    assert namespace["y"] == 2


@pytest.mark.parametrize("source", ["a\r\nb", "a\x0cb", "a\u2028b", "x = '\ud83d'"])
def test_what_a_text_file_cannot_hold_is_replaced_and_counted_and_a_notebook_holds_it(source: str) -> None:
    written = as_percent(cells("x", source, "y"))
    assert written.inexact == 1
    written.text.encode("utf-8")
    assert len(opened(written.text)) == 3
    assert json.loads(as_notebook(cells(source), "ab-1"))["cells"][0]["source"] == source.splitlines(keepends=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(_SOURCES, st.text(max_size=20)), max_size=4))
def test_nbformat_finds_nothing_wrong_with_the_notebook_and_gives_the_same_cells(sources: list[str]) -> None:
    text = as_notebook(cells(*sources), "3f9a12bc-42").decode()
    notebook = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]  # nbformat has no types
    nbformat.validate(notebook)
    assert [cell.source for cell in notebook.cells] == sources
    assert [cell.execution_count for cell in notebook.cells] == list(range(1, len(sources) + 1))
    assert notebook.metadata.nbguard.session == "3f9a12bc-42"
