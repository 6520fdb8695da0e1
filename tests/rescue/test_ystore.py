"""Shared notebooks: put together from the changes that collaboration has kept, as pycrdt itself puts them together."""

from __future__ import annotations

import base64
import json
import random
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.rescue.lib0 import Malformed
from nbguard.rescue.yjs import Document, plain
from nbguard.rescue.ystore import notebook_called
from tests.helpers import Answer

Ask = Callable[..., Answer]

# Made with jupyter_ydoc 4.2 and pycrdt 0.14: two people edit the same cell at the same time, then cells are removed.
MADE: dict[str, Any] = json.loads((Path(__file__).parent / "ystore_changes.json").read_text())
CHANGES = [base64.b64decode(update) for _, update in MADE["changes"]]


def store(path: Path, document: str, *, compress: bool = False) -> Path:
    """A database of changes as pycrdt-store makes it."""
    connection = sqlite3.connect(path)
    connection.execute(
        "CREATE TABLE yupdates (path TEXT NOT NULL, yupdate BLOB, metadata BLOB, timestamp REAL NOT NULL)"
    )
    connection.execute("CREATE TABLE ycheckpoints (path TEXT PRIMARY KEY, checkpoint BLOB, timestamp REAL NOT NULL)")
    for seconds, update in MADE["changes"]:
        raw = base64.b64decode(update)
        row = (document, zlib.compress(raw) if compress else raw, None, seconds)
        connection.execute("INSERT INTO yupdates VALUES (?, ?, ?, ?)", row)
    connection.commit()
    connection.close()
    return path


def file_ids(home: Path, **paths: str) -> None:
    folder = home / ".local" / "share" / "jupyter"
    folder.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(folder / "file_id_manager.db")
    connection.execute("CREATE TABLE Files (id TEXT PRIMARY KEY, path TEXT NOT NULL)")
    connection.executemany("INSERT INTO Files VALUES (?, ?)", paths.items())
    connection.commit()
    connection.close()


@pytest.mark.parametrize("compress", [False, True])
def test_a_shared_notebook_is_given_back_also_the_cells_removed_from_it(
    home: Path, work: Path, rescue: Ask, compress: bool
) -> None:
    """Which file it is, is told by the table of ids."""
    store(work / ".jupyter_ystore.db", "json:notebook:abc-1", compress=compress)
    file_ids(home, **{"abc-1": str(work / "lost.ipynb"), "abc-2": str(work / "other.ipynb")})
    answer = rescue("lost.ipynb", "-o", "out")
    assert answer.code == 0, answer.talk
    found = {each["note"]: each for each in answer.json["found"]}
    assert {each["source"] for each in found.values()} == {"ystore"} and len(found) == 2
    for note, wanted in ((None, MADE["last"]), ("before cells were removed", MADE["fullest"])):
        written = json.loads(Path(found[note]["written_to"]).read_text())
        assert written["cells"] == wanted["cells"] and written["metadata"] == wanted["metadata"]
    assert rescue("other.ipynb").code == 1


def test_a_damaged_store_is_named(work: Path, rescue: Ask) -> None:
    """Changes that make no sense, and a file that is no database."""
    path = store(work / ".jupyter_ystore.db", "notebook:lost.ipynb")
    connection = sqlite3.connect(path)
    connection.execute("UPDATE yupdates SET yupdate = x'ff00ff'")
    connection.commit()
    connection.close()
    (work / "sub").mkdir()
    (work / "sub" / ".jupyter_ystore.db").write_bytes(b"no database at all, but long enough to be one" * 100)
    answer = rescue("lost.ipynb")
    assert [each["source"] for each in answer.json["unavailable"]] == ["ystore", "ystore"]


def test_the_order_in_which_changes_arrive_makes_no_difference() -> None:
    """As Yjs promises."""
    for seed in range(20):
        shuffled = list(CHANGES)
        random.Random(seed).shuffle(shuffled)
        document = Document()
        for change in shuffled + shuffled[:3]:
            document.apply(change)
        cells = plain(document.root("cells"), 0)
        assert isinstance(cells, list)
        sources = [cell["source"] for cell in cells if isinstance(cell, dict)]
        assert sources == [cell["source"] for cell in MADE["last"]["cells"]]


@given(st.binary(max_size=300), st.integers(0, len(CHANGES) - 1), st.integers(0, 10_000))
def test_garbage_is_refused_and_nothing_else_is_raised(garbage: bytes, number: int, at: int) -> None:
    """Also a sound change with a piece of garbage in it."""
    change = CHANGES[number]
    at %= len(change)
    for update in (garbage, change[:at] + garbage + change[at + len(garbage) :]):
        document = Document()
        try:
            document.apply(update)
            plain(document.root("cells"), 0)
            plain(document.root("meta"), 1)
        except Malformed:
            pass


def test_documents_are_called_by_id_or_by_path() -> None:
    """As the versions of jupyter-collaboration have named them."""
    files = {"1f2e-3": "/home/a/x.ipynb"}
    assert notebook_called("json:notebook:1f2e-3", files) == "/home/a/x.ipynb"
    assert notebook_called(".notebook:1f2e-3.y", files) == "/home/a/x.ipynb"
    assert notebook_called("json:notebook:sub/x.ipynb", files) == "sub/x.ipynb"
    assert notebook_called("json:notebook:unknown", files) is None
