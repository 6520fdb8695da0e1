"""What real-time collaboration keeps: every change of a shared notebook, in `.jupyter_ystore.db`.

Tables of pycrdt-store: `yupdates (path, yupdate, metadata, timestamp)`, `ycheckpoints (path, checkpoint, timestamp)`;
the notebook as jupyter_ydoc lays it out (array `cells`, map `meta`). A document is called by its file's id; which file
that is, is told by the table `Files` of jupyter_server_fileid. No pycrdt is needed.
"""

from __future__ import annotations

import json
import re
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from nbguard.executed import Confidence
from nbguard.names import SUFFIX
from nbguard.rescue.database_copy import private_copy
from nbguard.rescue.findings import Finding, Look, SourceName, Unavailable, Wanted
from nbguard.rescue.lib0 import Malformed, Value
from nbguard.rescue.matching import fit
from nbguard.rescue.reading import at_seconds, bytes_finding, reason
from nbguard.rescue.yjs import Document, count, plain

_MOST_INFLATED_BYTES = 256_000_000
_NEVER_SAVED = ("execution_state",)


@dataclass(frozen=True, slots=True)
class _Change:
    update: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class YStores:
    """``stores`` are the databases of changes, ``names`` those that tell which file an id is of."""

    stores: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def name(self) -> SourceName:
        return SourceName.YSTORE

    def look(self, wanted: Wanted) -> Look:
        """The latest state of each notebook, and its fullest where cells were removed later."""
        found: list[Finding] = []
        unavailable: list[Unavailable] = []
        files = self._files(unavailable) if self.stores else {}
        for path in self.stores:
            try:
                with private_copy(path) as copy:
                    documents = _documents(copy)
            except FileNotFoundError:
                continue
            except (OSError, sqlite3.Error) as error:
                said = reason(error) if isinstance(error, OSError) else f"{path}: {error}"
                unavailable.append(Unavailable(self.name, said))
                continue
            for document, changes in documents.items():
                found += self._states(path, document, changes, files, wanted, unavailable)
        return Look(tuple(found), tuple(unavailable))

    def _states(  # noqa: PLR0917 - all of one document
        self,
        path: str,
        document: str,
        changes: Sequence[_Change],
        files: Mapping[str, str],
        wanted: Wanted,
        unavailable: list[Unavailable],
    ) -> Iterator[Finding]:
        notebook = notebook_called(document, files)
        confidence = Confidence.UNKNOWN if notebook is None else fit(wanted, notebook)
        if confidence is None or (notebook is not None and not notebook.endswith(SUFFIX)):
            return
        try:
            states = list(_replayed(changes))
        except (Malformed, RecursionError, MemoryError) as error:
            unavailable.append(Unavailable(self.name, f"{path}: {document}: {error}"))
            return
        for data, seconds, note in states:
            finding = bytes_finding(
                self.name,
                path,
                notebook,
                confidence,
                data=data,
                time=at_seconds(seconds),
                id=f"{document} {note}".strip(),
            )
            yield replace(finding, note=note) if note else finding

    def _files(self, unavailable: list[Unavailable]) -> dict[str, str]:
        """Paths by file id."""
        found: dict[str, str] = {}
        for path in self.names:
            try:
                with private_copy(path) as copy:
                    connection = sqlite3.connect(copy, timeout=0)
                    try:
                        rows = connection.execute("SELECT id, path FROM Files").fetchall()
                    finally:
                        connection.close()
            except FileNotFoundError:
                continue
            except (OSError, sqlite3.Error) as error:
                unavailable.append(Unavailable(self.name, f"{path}: {error}"))
                continue
            found |= {str(identity): where for identity, where in rows if isinstance(where, str) and "\0" not in where}
        return found


def notebook_called(document: str, files: Mapping[str, str]) -> str | None:
    """The notebook's path or name; None when nothing tells. ``document`` is like ``json:notebook:ID``."""
    for part in re.split(r"[:./\\]", document):
        if part in files:
            return files[part]
    if SUFFIX in document:
        return document.rpartition(":")[2].removesuffix(".y").lstrip("/")
    return None


def _documents(copy: str) -> dict[str, list[_Change]]:
    """The changes of each document in the order in which they were made. Raises sqlite3.Error."""
    connection = sqlite3.connect(copy, timeout=0)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        rows: list[tuple[object, object, object]] = []
        if "ycheckpoints" in tables:
            rows += connection.execute("SELECT path, checkpoint, timestamp FROM ycheckpoints").fetchall()
        if "yupdates" in tables:
            rows += connection.execute("SELECT path, yupdate, timestamp FROM yupdates ORDER BY timestamp").fetchall()
    finally:
        connection.close()
    documents: dict[str, list[_Change]] = {}
    for path, update, seconds in rows:
        if isinstance(path, str) and isinstance(update, bytes) and isinstance(seconds, int | float):
            documents.setdefault(path, []).append(_Change(update, float(seconds)))
    return documents


def _replayed(changes: Sequence[_Change]) -> Iterator[tuple[bytes, float, str]]:
    """(notebook, time, note) of the last state, and of the fullest if that was another. Raises Malformed."""
    document, counts = Document(), list[int]()
    for change in changes:
        _apply(document, change.update)
        counts.append(count(document.root("cells")))
    if not counts or not max(counts):
        return
    if counts[-1]:
        yield _notebook(document), changes[-1].seconds, ""
    most = max(counts)
    if most > counts[-1]:
        last = max(number for number, cells in enumerate(counts) if cells == most)
        document = Document()
        for change in changes[: last + 1]:
            _apply(document, change.update)
        yield _notebook(document), changes[last].seconds, "before cells were removed"


def _apply(document: Document, update: bytes) -> None:
    try:
        document.apply(update)
    except Malformed:
        if update[:1] != b"\x78":
            raise
        inflating = zlib.decompressobj()  # a store can be told to compress
        try:
            document.apply(inflating.decompress(update, _MOST_INFLATED_BYTES))
        except zlib.error as error:
            raise Malformed("a change that cannot be read") from error


def _notebook(document: Document) -> bytes:
    """The document as the bytes of an .ipynb file."""
    meta, cells = plain(document.root("meta"), 1), plain(document.root("cells"), 0)
    assert isinstance(meta, dict) and isinstance(cells, list)
    major, minor, about = meta.get("nbformat"), meta.get("nbformat_minor"), meta.get("metadata")
    notebook: dict[str, Value] = {
        "cells": [_cell(cell) for cell in cells if isinstance(cell, dict)],
        "metadata": about if isinstance(about, dict) else {},
        "nbformat": int(major) if isinstance(major, int | float) else 4,
        "nbformat_minor": int(minor) if isinstance(minor, int | float) else 5,
    }
    text = json.dumps(notebook, indent=1, ensure_ascii=False, default=lambda raw: "") + "\n"
    return text.encode("utf-8", "replace")


def _cell(cell: dict[str, Value]) -> dict[str, Value]:
    kept = {key: _whole(value) for key, value in cell.items() if key not in _NEVER_SAVED}
    if kept.get("attachments") in ({}, None):
        kept.pop("attachments", None)
    return kept


def _whole(value: Value) -> Value:
    """JavaScript's numbers are all floats: whole ones are integers again."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        return int(value)
    if isinstance(value, list):
        return [_whole(each) for each in value]
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    return value
