"""Records as lines: each is one JSON object of ASCII, ``v: 1``, with its ``kind``; an archive holds them for good.

Names that are not UTF-8 stand as base64 of their bytes beside a null. A line that cannot be read is reported and costs
no other line: a disk may have torn it, a newer nbguard may have written it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping

from nbguard.clock import iso
from nbguard.errors import ArchiveTrouble
from nbguard.executed import (
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
from nbguard.record_fields import (
    Fields,
    a_moment,
    a_number,
    a_path,
    a_string,
    a_text,
    a_word,
    moment_or_none,
    number_or_none,
    path_or_none,
    path_out,
    text_or_none,
    text_out,
    time_out,
    word_or_none,
)

FORMAT = 1


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
        **path_out("path", it.path),
        "device": it.device,
        "inode": it.inode,
        **text_out("first_started_at", it.first_started_at),
        "seen_at": iso(it.seen_at),
    }


def _of_session(it: HistorySession) -> dict[str, object]:
    return {
        "generation": it.generation,
        "session": it.session,
        "started_at": time_out(it.started_at),
        "ended_at": time_out(it.ended_at),
        "seen_at": iso(it.seen_at),
    }


def _of_cell(it: ExecutedCell) -> dict[str, object]:
    return {
        "generation": it.generation,
        "session": it.session,
        "line": it.line,
        **text_out("source", it.source),
        "seen_at": iso(it.seen_at),
        "origin": str(it.origin),
        **({} if it.transformed is None else text_out("transformed", it.transformed)),
        **({} if it.output is None else text_out("output", it.output)),
    }


def _of_link(it: Link) -> dict[str, object]:
    return {
        "generation": it.generation,
        "session": it.session,
        **({"path": None} if it.path is None else path_out("path", it.path)),
        "frontend": str(it.frontend),
        "confidence": str(it.confidence),
        "evidence": list(it.evidence),
        "seen_at": iso(it.seen_at),
        "since": time_out(it.since),
        "until": time_out(it.until),
        "kernel": it.kernel,
        "pid": it.pid,
    }


def _of_run(it: Run) -> dict[str, object]:
    return {
        "id": it.id,
        "kernel": it.kernel,
        "execution_count": it.execution_count,
        **text_out("source", it.source),
        "started_at": iso(it.started_at),
        "ended_at": time_out(it.ended_at),
        "status": it.status,
        **({} if it.path is None else path_out("path", it.path)),
        "generation": it.generation,
        "session": it.session,
        "outputs": it.outputs,
        "output_bytes": it.output_bytes,
        **({} if not it.note else text_out("note", it.note)),
    }


# -- in ------------------------------------------------------------------------------------------------------------


def _generation(fields: Fields) -> Generation:
    return Generation(
        id=a_word(fields, "id"),
        path=a_path(fields, "path"),
        device=a_number(fields, "device"),
        inode=a_number(fields, "inode"),
        first_started_at=a_text(fields, "first_started_at"),
        seen_at=a_moment(fields, "seen_at"),
    )


def _session(fields: Fields) -> HistorySession:
    return HistorySession(
        generation=a_word(fields, "generation"),
        session=a_number(fields, "session"),
        started_at=moment_or_none(fields, "started_at"),
        ended_at=moment_or_none(fields, "ended_at"),
        seen_at=a_moment(fields, "seen_at"),
    )


def _cell(fields: Fields) -> ExecutedCell:
    return ExecutedCell(
        generation=a_word(fields, "generation"),
        session=a_number(fields, "session"),
        line=a_number(fields, "line"),
        source=a_text(fields, "source"),
        seen_at=a_moment(fields, "seen_at"),
        origin=CellOrigin(a_string(fields, "origin")),
        transformed=text_or_none(fields, "transformed"),
        output=text_or_none(fields, "output"),
    )


def _link(fields: Fields) -> Link:
    evidence = fields["evidence"]
    if not isinstance(evidence, list) or not all(isinstance(item, str) for item in evidence):
        raise ValueError("evidence is not a list of words")
    return Link(
        generation=word_or_none(fields, "generation"),
        session=number_or_none(fields, "session"),
        path=path_or_none(fields, "path"),
        frontend=Frontend(a_string(fields, "frontend")),
        confidence=Confidence(a_string(fields, "confidence")),
        evidence=tuple(str(item) for item in evidence),
        seen_at=a_moment(fields, "seen_at"),
        since=moment_or_none(fields, "since"),
        until=moment_or_none(fields, "until"),
        kernel=text_or_none(fields, "kernel"),
        pid=number_or_none(fields, "pid"),
    )


def _run(fields: Fields) -> Run:
    return Run(
        id=a_word(fields, "id"),
        kernel=a_string(fields, "kernel"),
        execution_count=number_or_none(fields, "execution_count"),
        source=a_text(fields, "source"),
        started_at=a_moment(fields, "started_at"),
        ended_at=moment_or_none(fields, "ended_at"),
        status=a_string(fields, "status"),
        path=path_or_none(fields, "path"),
        generation=word_or_none(fields, "generation"),
        session=number_or_none(fields, "session"),
        outputs=a_number(fields, "outputs"),
        output_bytes=a_number(fields, "output_bytes"),
        note=text_or_none(fields, "note") or "",
    )


_KINDS: Mapping[str, tuple[type[Record], Callable[..., dict[str, object]], Callable[[Fields], Record]]] = {
    "generation": (Generation, _of_generation, _generation),
    "session": (HistorySession, _of_session, _session),
    "cell": (ExecutedCell, _of_cell, _cell),
    "link": (Link, _of_link, _link),
    "run": (Run, _of_run, _run),
}
