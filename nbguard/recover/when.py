"""The grammar of WHEN: words to a frozen value, without a clock; ``now`` and the zone are given.

Tried in this order: ``~N``, ``last-good``, the beginning of a version's id, an ISO time, ``2 hours ago``,
``yesterday|today|weekday [HH:MM]``. A time that names no fraction of a second reaches to the end of its second, as
that is how times are shown; a wall time that a change of clocks makes ambiguous means the later reading.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from nbguard.errors import UsageError


@dataclass(frozen=True, slots=True)
class Nth:
    """A row of ``log``; 0 is the newest."""

    row: int


@dataclass(frozen=True, slots=True)
class LastGood:
    """The newest version that is as good as it should be."""


@dataclass(frozen=True, slots=True)
class Until:
    """The newest version not later than ``instant`` (UTC)."""

    instant: datetime


@dataclass(frozen=True, slots=True)
class Named:
    """The version whose id begins with ``prefix``; where there is none, ``otherwise`` (``20261121`` is also a day)."""

    prefix: str
    otherwise: Until | None = None


When = Nth | LastGood | Until | Named

EXAMPLES = ("~1", "2026-11-21 09:30", "2 hours ago")

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# Text, not compiled: `show NB ~500` is on a budget of milliseconds and needs none of them.
_PREFIX = r"[0-9a-f]{6,64}"
_ISO = r"([0-9][0-9w-]*)(?:(?:t| )([0-9:.,]+) ?(z|[+-][0-9:.]+)?)?"
_AGO = r"([0-9]{1,12}|an?) (second|minute|hour|day|week|month|year)s? ago"
_DAY = r"(yesterday|today|" + "|".join(_WEEKDAYS) + r")(?: ([0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?))?"
_EXACT = {"second": 1, "minute": 60, "hour": 3600}
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 12, 30, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)


def parse_when(text: str, now: datetime, zone: tzinfo) -> When:
    """What ``text`` means at ``now`` (aware) for somebody whose wall clock is ``zone``. Raises UsageError."""
    words = " ".join(text.lower().split())
    if words[:1] == "~" and words[1:].isascii() and words[1:].isdigit() and len(words) <= 13:
        return Nth(int(words[1:]))
    if words == "last-good":
        return LastGood()
    until = _instant(words, now, zone)
    if re.fullmatch(_PREFIX, words):
        return Named(words, until)
    if until is None:
        raise UsageError(
            f"{text!r} is not a time or a version",
            hint="for example: " + ", ".join(f'"{example}"' if " " in example else example for example in EXAMPLES),
        )
    return until


def _instant(words: str, now: datetime, zone: tzinfo) -> Until | None:
    try:
        found = _iso(words, zone) or _ago(words, now, zone) or _day(words, now, zone)
    except ValueError:  # looks like one, but there is no 31st of June
        return None
    except OverflowError:
        found = _EARLIEST
    return None if found is None else Until(min(max(found, _EARLIEST), _LATEST))


def _iso(words: str, zone: tzinfo) -> datetime | None:
    match = re.fullmatch(_ISO, words)
    if match is None:
        return None
    day = date.fromisoformat(match[1].upper())
    clock = _padded((match[2] or "00").replace(",", "."))
    at = time.fromisoformat(clock)
    if not _EARLIEST.year < day.year < _LATEST.year:
        return _EARLIEST if day.year <= _EARLIEST.year else _LATEST
    if match[2] is None:
        return _end_of(day, zone)
    wall = datetime.combine(day, at)
    if "." not in clock:
        wall = wall.replace(microsecond=999_999)
    if match[3] is None:
        return _latest_reading(wall, zone)
    return datetime.combine(wall.date(), time.fromisoformat(wall.time().isoformat() + match[3].upper())).astimezone(UTC)


def _ago(words: str, now: datetime, zone: tzinfo) -> datetime | None:
    match = re.fullmatch(_AGO, words)
    if match is None:
        return None
    count = 1 if match[1] in ("a", "an") else int(match[1])
    unit = match[2]
    if unit in _EXACT:
        return now.astimezone(UTC) - timedelta(seconds=count * _EXACT[unit])
    wall = now.astimezone(zone).replace(tzinfo=None)
    if unit in ("day", "week"):
        return _latest_reading(wall - timedelta(days=count * (7 if unit == "week" else 1)), zone)
    months = wall.year * 12 + wall.month - 1 - count * (12 if unit == "year" else 1)
    year, month = divmod(months, 12)
    if year < 1:
        return _EARLIEST
    return _latest_reading(wall.replace(year=year, month=month + 1, day=min(wall.day, _days(year, month + 1))), zone)


def _days(year: int, month: int) -> int:
    following = date(year + month // 12, month % 12 + 1, 1)
    return (following - timedelta(days=1)).day


def _day(words: str, now: datetime, zone: tzinfo) -> datetime | None:
    match = re.fullmatch(_DAY, words)
    if match is None:
        return None
    today = now.astimezone(zone).date()
    at = None if match[2] is None else time.fromisoformat(_padded(match[2]))
    if match[1] in ("yesterday", "today"):
        return _on(today - timedelta(days=match[1] == "yesterday"), at, zone)
    back = (today.weekday() - _WEEKDAYS.index(match[1])) % 7
    found = _on(today - timedelta(days=back), at, zone)
    # Only today's own weekday can still lie ahead; then the one a week ago is the latest past one.
    return found if found <= now + _SECOND else _on(today - timedelta(days=back + 7), at, zone)


def _padded(clock: str) -> str:
    return "0" + clock if clock[1:2] == ":" else clock


def _on(day: date, at: time | None, zone: tzinfo) -> datetime:
    if at is None:
        return _end_of(day, zone)
    return _latest_reading(datetime.combine(day, at), zone) + _SECOND - _TICK


def _end_of(day: date, zone: tzinfo) -> datetime:
    """A day ends where the next begins: at the first telling of its midnight, or where a skipped one would be."""
    return datetime.combine(day + timedelta(days=1), time(), tzinfo=zone).astimezone(UTC) - _TICK


def _latest_reading(wall: datetime, zone: tzinfo) -> datetime:
    """The instant of a wall time: a twice-told one means the later, a skipped one what it would have been."""
    return max(wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
