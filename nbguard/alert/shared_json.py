"""What machines with one mirror tell each other of their people, as JSON: roll calls (no address, no secret, codes as
salted hashes), and codes that were answered elsewhere. Read without trusting it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from nbguard.alert.codes import normalised
from nbguard.alert.roll_call import SharedCall, SharedCode
from nbguard.alerting import ChannelState
from nbguard.clock import from_iso, iso

VERSION = 1
MOST_ANSWERS = 50
_MOST_CALLS, _MOST_CODES, _LONGEST = 50, 64, 100


def roll_call_text(calls: Iterable[SharedCall]) -> bytes:
    """``roll-call.json``; the same calls give the same bytes, though their codes' ends are counted anew each time."""
    humans = [
        {
            "human": call.human,
            "channel": call.channel,
            "state": str(call.state),
            "asked_at": _told(call.asked_at),
            "answered_at": _told(call.answered_at),
            "codes": [
                {"salt": code.salt, "sha256": code.sha256, "expires_at": iso(_whole_hour(code.expires_at))}
                for code in call.codes
            ],
        }
        for call in calls
    ]
    return json.dumps({"v": VERSION, "humans": humans}, indent=1).encode() + b"\n"


def roll_calls_in(data: bytes) -> tuple[SharedCall, ...]:
    """The calls in a ``roll-call.json``; those that cannot be understood are passed over."""
    found = []
    for row in _rows(data, "humans")[:_MOST_CALLS]:
        try:
            codes = row.get("codes")
            found.append(
                SharedCall(
                    human=_word(row.get("human")),
                    channel=_word(row.get("channel")),
                    state=ChannelState(_word(row.get("state"))),
                    asked_at=_time(row.get("asked_at")),
                    answered_at=_time(row.get("answered_at")),
                    codes=tuple(_code(code) for code in (codes if isinstance(codes, list) else [])[:_MOST_CODES]),
                )
            )
        except ValueError:
            continue
    return tuple(found)


def answers_text(codes: Iterable[str]) -> bytes:
    """``answers.json``: codes as they were typed, used up by being there."""
    return json.dumps({"v": VERSION, "codes": list(codes)[-MOST_ANSWERS:]}, indent=1).encode() + b"\n"


def answers_in(data: bytes) -> tuple[str, ...]:
    """The codes in an ``answers.json``, without their dashes."""
    table = _table(data)
    codes = table.get("codes")
    typed = [code for code in codes if isinstance(code, str)] if isinstance(codes, list) else []
    return tuple(code for each in typed[-MOST_ANSWERS:] if (code := normalised(each)) is not None)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A small file of a mirror as it was when its branch stood at ``commit``; no text where only that counts."""

    commit: str
    text: str = ""


def fetched_text(fetched: Mapping[str, Fetched]) -> bytes:
    """What was fetched, by any keys, to be remembered."""
    files = {key: [each.commit, each.text] for key, each in sorted(fetched.items())}
    return json.dumps({"v": VERSION, "files": files}).encode() + b"\n"


def fetched_in(data: bytes) -> dict[str, Fetched]:
    """What was remembered; nothing where that cannot be read: it is fetched again."""
    files = _table(data).get("files")
    if not isinstance(files, dict):
        return {}
    return {
        str(key): Fetched(each[0], each[1])
        for key, each in files.items()
        if isinstance(each, list) and len(each) == 2 and all(isinstance(part, str) for part in each)
    }


def _code(value: object) -> SharedCode:
    if not isinstance(value, dict):
        raise ValueError("no code")
    expires_at = _time(value.get("expires_at"))
    if expires_at is None:
        raise ValueError("a code without an end")
    return SharedCode(salt=_word(value.get("salt")), sha256=_word(value.get("sha256")), expires_at=expires_at)


def _rows(data: bytes, key: str) -> list[Mapping[str, object]]:
    rows = _table(data).get(key)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _table(data: bytes) -> Mapping[str, object]:
    try:
        table = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) and table.get("v") == VERSION else {}


def _word(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST or not value.isprintable() or not value.isascii():
        raise ValueError("no word")
    return value


def _time(value: object) -> datetime | None:
    if value is None:
        return None
    return from_iso(_word(value))


def _told(moment: datetime | None) -> str | None:
    return iso(moment) if moment is not None else None


def _whole_hour(moment: datetime) -> datetime:
    floor = moment.replace(minute=0, second=0, microsecond=0)
    return floor if moment - floor < timedelta(minutes=30) else floor + timedelta(hours=1)
