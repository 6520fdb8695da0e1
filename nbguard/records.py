"""Records as lines: each is one JSON object of ASCII, ``v: 1``, with its ``kind``; an archive holds them for good.

Names that are not UTF-8 stand as base64 of their bytes beside a null. A line that cannot be read is reported and costs
no other line: a disk may have torn it, a newer nbguard may have written it.
"""

from __future__ import annotations

import json
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from nbguard.clock import from_iso, iso
from nbguard.errors import ArchiveTrouble
from nbguard.model import (
    CellOrigin,
    Confidence,
    ExecutedCell,
    Frontend,
    Generation,
    HistorySession,
    Link,
    Record,
    Run,
)

FORMAT = 1
_WORD = re.compile("[0-9A-Za-z._:-]{1,200}")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_MOST_NUMBER = 1 << 62
_OLDEST_YEAR, _LATEST_YEAR = 1000, 9999

Fields = Mapping[str, object]


class UnknownRecord(ArchiveTrouble):
    """A record of a kind or format that this nbguard does not know; it is kept for one that does."""

    code = "record-newer"


class BrokenRecord(ArchiveTrouble):
    """A line that is no record: torn by a disk, or not written by nbguard."""

    code = "record-damaged"


def encode(record: Record) -> bytes:
    """One line of ASCII JSON, without the newline."""
    for kind, (known, fields_of, _) in _KINDS.items():
        if isinstance(record, known):
            fields = {"v": FORMAT, "kind": kind, **fields_of(record)}
            return json.dumps(fields, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    raise TypeError(f"{type(record).__name__} is not a record")


def encode_lines(records: Iterable[Record]) -> bytes:
    """One line each, with newlines."""
    return b"".join(encode(record) + b"\n" for record in records)


def decode(line: bytes) -> Record:
    """The reverse of :func:`encode`. Raises UnknownRecord, BrokenRecord."""
    try:
        fields = json.loads(line)
        if not isinstance(fields, dict):
            raise ValueError("not an object")
        version, kind = fields["v"], fields["kind"]
        if not isinstance(version, int) or not isinstance(kind, str):
            raise ValueError("no version, or no kind")
        if version > FORMAT or kind not in _KINDS:
            raise UnknownRecord(
                f"a record of kind {kind[:40]!r}, format {version}, is newer than this nbguard",
                hint="update nbguard; nothing is lost",
            )
        return _KINDS[kind][2](fields)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise BrokenRecord(
            f"a record is not readable: {str(error)[:200] or type(error).__name__}", hint="see `nbguard doctor`"
        ) from error


def decode_lines(data: bytes) -> Iterator[Record | ArchiveTrouble]:
    """What stands in each whole line; a trouble where one cannot be read. What follows the last newline is no line."""
    for line in data.split(b"\n")[:-1]:
        if line.strip(b"\0 \r\t"):
            try:
                yield decode(line)
            except ArchiveTrouble as trouble:
                yield trouble


# -- out -----------------------------------------------------------------------------------------------------------


def _of_generation(it: Generation) -> dict[str, object]:
    return {
        "id": it.id,
        **_path("path", it.path),
        "device": it.device,
        "inode": it.inode,
        **_text("first_started_at", it.first_started_at),
        "seen_at": iso(it.seen_at),
    }


def _of_session(it: HistorySession) -> dict[str, object]:
    return {
        "generation": it.generation,
        "session": it.session,
        "started_at": _time(it.started_at),
        "ended_at": _time(it.ended_at),
        "seen_at": iso(it.seen_at),
    }


def _of_cell(it: ExecutedCell) -> dict[str, object]:
    return {
        "generation": it.generation,
        "session": it.session,
        "line": it.line,
        **_text("source", it.source),
        "seen_at": iso(it.seen_at),
        "origin": str(it.origin),
        **({} if it.transformed is None else _text("transformed", it.transformed)),
        **({} if it.output is None else _text("output", it.output)),
    }


def _of_link(it: Link) -> dict[str, object]:
    return {
        "generation": it.generation,
        "session": it.session,
        **({"path": None} if it.path is None else _path("path", it.path)),
        "frontend": str(it.frontend),
        "confidence": str(it.confidence),
        "evidence": list(it.evidence),
        "seen_at": iso(it.seen_at),
        "since": _time(it.since),
        "until": _time(it.until),
        "kernel": it.kernel,
        "pid": it.pid,
    }


def _of_run(it: Run) -> dict[str, object]:
    return {
        "id": it.id,
        "kernel": it.kernel,
        "execution_count": it.execution_count,
        **_text("source", it.source),
        "started_at": iso(it.started_at),
        "ended_at": _time(it.ended_at),
        "status": it.status,
        **({} if it.path is None else _path("path", it.path)),
        "generation": it.generation,
        "session": it.session,
        "outputs": it.outputs,
        "output_bytes": it.output_bytes,
        **({} if not it.note else _text("note", it.note)),
    }


def _time(moment: datetime | None) -> str | None:
    """None also for a time that no clock has shown: databases hold those as well, and they do not come back."""
    return iso(moment) if moment is not None and _OLDEST_YEAR <= moment.year < _LATEST_YEAR else None


def _text(key: str, text: str) -> dict[str, object]:
    """Escaped where JSON can say it: two lone surrogates side by side would come back as the character they spell."""
    if text.isascii() or not _PAIR.search(text):
        return {key: text}
    return {key: None, f"{key}_b64": b64encode(text.encode("utf-8", "surrogatepass")).decode("ascii")}


def _path(key: str, path: str) -> dict[str, object]:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        try:
            return {key: None, f"{key}_b64": b64encode(os.fsencode(path)).decode("ascii")}
        except UnicodeEncodeError:
            pass  # no file is called so; as text then
    return {key: path}


# -- in ------------------------------------------------------------------------------------------------------------


def _generation(fields: Fields) -> Generation:
    return Generation(
        id=_word(fields, "id"),
        path=_a_path(fields, "path"),
        device=_number(fields, "device"),
        inode=_number(fields, "inode"),
        first_started_at=_a_text(fields, "first_started_at"),
        seen_at=_moment(fields, "seen_at"),
    )


def _session(fields: Fields) -> HistorySession:
    return HistorySession(
        generation=_word(fields, "generation"),
        session=_number(fields, "session"),
        started_at=_moment_or_none(fields, "started_at"),
        ended_at=_moment_or_none(fields, "ended_at"),
        seen_at=_moment(fields, "seen_at"),
    )


def _cell(fields: Fields) -> ExecutedCell:
    return ExecutedCell(
        generation=_word(fields, "generation"),
        session=_number(fields, "session"),
        line=_number(fields, "line"),
        source=_a_text(fields, "source"),
        seen_at=_moment(fields, "seen_at"),
        origin=CellOrigin(_string(fields, "origin")),
        transformed=_text_or_none(fields, "transformed"),
        output=_text_or_none(fields, "output"),
    )


def _link(fields: Fields) -> Link:
    evidence = fields["evidence"]
    if not isinstance(evidence, list) or not all(isinstance(item, str) for item in evidence):
        raise ValueError("evidence is not a list of words")
    return Link(
        generation=_word_or_none(fields, "generation"),
        session=_number_or_none(fields, "session"),
        path=_path_or_none(fields, "path"),
        frontend=Frontend(_string(fields, "frontend")),
        confidence=Confidence(_string(fields, "confidence")),
        evidence=tuple(str(item) for item in evidence),
        seen_at=_moment(fields, "seen_at"),
        since=_moment_or_none(fields, "since"),
        until=_moment_or_none(fields, "until"),
        kernel=_text_or_none(fields, "kernel"),
        pid=_number_or_none(fields, "pid"),
    )


def _run(fields: Fields) -> Run:
    return Run(
        id=_word(fields, "id"),
        kernel=_string(fields, "kernel"),
        execution_count=_number_or_none(fields, "execution_count"),
        source=_a_text(fields, "source"),
        started_at=_moment(fields, "started_at"),
        ended_at=_moment_or_none(fields, "ended_at"),
        status=_string(fields, "status"),
        path=_path_or_none(fields, "path"),
        generation=_word_or_none(fields, "generation"),
        session=_number_or_none(fields, "session"),
        outputs=_number(fields, "outputs"),
        output_bytes=_number(fields, "output_bytes"),
        note=_text_or_none(fields, "note") or "",
    )


def _string(fields: Fields, key: str) -> str:
    found = fields[key]
    if not isinstance(found, str):
        raise ValueError(f"{key} is not text")
    return found


def _word(fields: Fields, key: str) -> str:
    found = _string(fields, key)
    if not _WORD.fullmatch(found):
        raise ValueError(f"{key} is not an id")
    return found


def _word_or_none(fields: Fields, key: str) -> str | None:
    return None if fields.get(key) is None else _word(fields, key)


def _number(fields: Fields, key: str) -> int:
    found = fields[key]
    if not isinstance(found, int) or isinstance(found, bool) or abs(found) > _MOST_NUMBER:
        raise ValueError(f"{key} is not a number")
    return found


def _number_or_none(fields: Fields, key: str) -> int | None:
    return None if fields.get(key) is None else _number(fields, key)


def _moment(fields: Fields, key: str) -> datetime:
    found = from_iso(_string(fields, key))
    if not _OLDEST_YEAR <= found.year < _LATEST_YEAR:
        raise ValueError(f"{key} is not a time")
    return found


def _moment_or_none(fields: Fields, key: str) -> datetime | None:
    return None if fields.get(key) is None else _moment(fields, key)


def _a_text(fields: Fields, key: str) -> str:
    found = _text_or_none(fields, key)
    if found is None:
        raise ValueError(f"{key} is missing")
    return found


def _text_or_none(fields: Fields, key: str) -> str | None:
    if isinstance(encoded := fields.get(f"{key}_b64"), str):
        return b64decode(encoded).decode("utf-8", "surrogatepass")
    return None if fields.get(key) is None else _string(fields, key)


def _a_path(fields: Fields, key: str) -> str:
    found = _path_or_none(fields, key)
    if found is None:
        raise ValueError(f"{key} is missing")
    return found


def _path_or_none(fields: Fields, key: str) -> str | None:
    if isinstance(encoded := fields.get(f"{key}_b64"), str):
        return os.fsdecode(b64decode(encoded))
    return None if fields.get(key) is None else _string(fields, key)


_KINDS: Mapping[str, tuple[type[Record], Callable[..., dict[str, object]], Callable[[Fields], Record]]] = {
    "generation": (Generation, _of_generation, _generation),
    "session": (HistorySession, _of_session, _session),
    "cell": (ExecutedCell, _of_cell, _cell),
    "link": (Link, _of_link, _link),
    "run": (Run, _of_run, _run),
}
