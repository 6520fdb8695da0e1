"""What lies in a mirror, read without trusting it: anybody who may push there can put anything there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from nbguard.clock import from_iso
from nbguard.errors import ArchiveTrouble
from nbguard.mirror.layout import FORMAT, HOSTS, MirrorHeartbeat, Namespace, NewerMirror, ToldProblem

MOST_BYTES = 1_000_000
"""No small file of a mirror is larger: more is not read."""

_MOST_HOSTS = 10_000
_OID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9_-]|\.(?!\.))*-[0-9a-z]{8,64}")
_WORD = re.compile(r"[0-9A-Za-z._:+-]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRefs:
    """What a mirror holds of one installation: the commits its branches name, None where there is no such branch;
    ``answers`` by the namespace of who answered."""

    namespace: str
    main: str | None = None
    records: str | None = None
    heartbeat: str | None = None
    roll_call: str | None = None
    answers: Mapping[str, str] = field(default_factory=dict)


def is_namespace(name: str) -> bool:
    """Whether it can be the name of an installation in a mirror."""
    return len(name) <= 200 and _NAMESPACE.fullmatch(name) is not None


def refs_in(listing: bytes) -> dict[str, str]:
    """`git ls-remote` as {ref: commit}; lines that are none are passed over."""
    found = {}
    for line in listing.decode("utf-8", "replace").splitlines():
        commit, _, ref = line.partition("\t")
        if _OID.fullmatch(commit) and ref.startswith("refs/") and not ref.endswith("^{}"):
            found[ref] = commit
    return found


def hosts_in(refs: Mapping[str, str]) -> dict[str, HostRefs]:
    """Every installation in a mirror by its namespace, in order; what is not of this layout is passed over."""
    names = {ref[len(HOSTS) :].partition("/")[0] for ref in refs if ref.startswith(HOSTS)}
    answers: dict[str, dict[str, str]] = {}
    for ref, commit in refs.items():
        asking, _, answering = ref.removeprefix(HOSTS).partition("/answers/")
        if ref.startswith(HOSTS) and is_namespace(answering):
            answers.setdefault(asking, {})[answering] = commit
    found = {}
    for name in sorted(filter(is_namespace, names))[:_MOST_HOSTS]:
        space = Namespace(name)
        found[name] = HostRefs(
            namespace=name,
            main=refs.get(space.main),
            records=refs.get(space.records),
            heartbeat=refs.get(space.heartbeat),
            roll_call=refs.get(space.roll_call),
            answers=answers.get(name, {}),
        )
    return found


def heartbeat_in(data: bytes) -> MirrorHeartbeat:
    """The life sign in the bytes of a heartbeat file. Raises NewerMirror, ArchiveTrouble."""
    try:
        if len(data) > MOST_BYTES:
            raise ValueError("too large")
        table = json.loads(data)
        _refuse_newer(_whole(table["v"]))
        tips = table["tips"]
        return MirrorHeartbeat(
            install=_word(table["install"]),
            host=_line(table["host"]),
            user=_line(table["user"]),
            sequence=_whole(table["seq"]),
            boot=_word(table["boot"]),
            at=_time(table["at"]),
            version=_word(table["version"]),
            every_seconds=_seconds(table["every_seconds"]) or 0.0,
            archive_format=_whole(table.get("format", 1)),
            beat_at=_time_or_none(table.get("beat_at")),
            state=None if table.get("state") is None else _word(table["state"]),
            exit_code=None if table.get("exit_code") is None else _whole(table["exit_code"]),
            problems=tuple(_told(told) for told in _rows(table.get("problems", []))),
            main=_oid(tips.get("main")),
            records=_oid(tips.get("records")),
            checked_at=_time_or_none(table.get("checked_at")),
            full_seconds=_seconds(table.get("full_seconds")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        hint = "somebody else writes there, or the mirror is damaged"
        raise ArchiveTrouble(f"a heartbeat in a mirror cannot be read: {type(error).__name__}", hint=hint) from error


def _refuse_newer(version: int) -> None:
    if version > FORMAT:
        raise NewerMirror(f"a heartbeat is of format {version}, this nbguard knows {FORMAT}", hint="update nbguard")


def _told(table: Mapping[str, object]) -> ToldProblem:
    subject = table.get("subject_hash")
    return ToldProblem(
        code=_word(table["code"]),
        since=_time(table["since"]),
        subject=None if subject is None else _word(subject),
    )


def _rows(value: object) -> Iterable[Mapping[str, object]]:
    if not isinstance(value, list) or len(value) > 1000 or not all(isinstance(item, dict) for item in value):
        raise ValueError("not a list of tables")
    return value


def _word(value: object) -> str:
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise ValueError("not a word")
    return value


def _line(value: object) -> str:
    if not isinstance(value, str) or len(value) > 300 or not (value.isprintable() or not value):
        raise ValueError("not a line of text")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 62:
        raise ValueError("not a whole number")
    return value


def _seconds(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e12:
        raise ValueError("not seconds")
    return float(value)


def _oid(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _OID.fullmatch(value):
        raise ValueError("not a commit")
    return value


def _time(value: object) -> datetime:
    return from_iso(_line(value))


def _time_or_none(value: object) -> datetime | None:
    return None if value is None else _time(value)
