"""What humans read: plain text that says what, since when, what to do, and how to answer. No notebook content."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from nbguard.alert.codes import spelled
from nbguard.alert.incidents import RANK
from nbguard.alert.outbox import Letter
from nbguard.alert.state import Incident, Instant, State
from nbguard.alerting import Message, MessageKind, Weight

_MOST_GROUPS = 12
_MOST_SUBJECTS = 10
_LONGEST_TITLE = 160
_HEADLINES = {
    Weight.STALL: "STALLED, protection has stopped",
    Weight.GAP: "a notebook or kernel is not protected",
    Weight.WARNING: "something needs a look",
}


def write(letter: Letter, state: State, host: str, now: Instant, *, silent_days: float) -> Message | None:
    """The words of a letter, as things stand now; None when there is nothing left to say."""
    if letter.kind is MessageKind.ROLL_CALL:
        return _roll_call(letter, state, host)
    told = [(one, incident) for one in letter.tellings if (incident := state.incident(one.incident)) is not None]
    now_wrong = [incident for one, incident in told if one.kind is not MessageKind.RESOLVED]
    over = [incident for one, incident in told if one.kind is MessageKind.RESOLVED]
    if not told:
        return None
    lines = []
    if now_wrong:
        lines += [*_wrong_lines(now_wrong, now), ""]
    if over:
        lines += [*_over_lines(over), ""]
    if letter.code is not None and now_wrong:
        lines += _answer_lines(letter.code, silent_days)
    return Message(
        kind=letter.kind,
        title=_one_line(_title(letter.kind, now_wrong, over, host))[:_LONGEST_TITLE],
        body="\n".join(lines).strip() + "\n",
        code=letter.code,
    )


def notice(incidents: Iterable[Incident], host: str) -> str:
    """The line that a prompt shows; empty when nothing is open that nobody has acknowledged."""
    wrong = sorted(incidents, key=lambda each: -RANK[each.weight])
    if not wrong:
        return ""
    worst = wrong[0]
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return _one_line(f"{_HEADLINES[worst.weight]}: {_what(worst)}{more}; see `nbguard status`")


def duration(seconds: float) -> str:
    """2 min, 3 h 5 min, 4 days: no more than two parts."""
    minutes = int(max(0.0, seconds) // 60)
    if minutes < 1:
        return "less than a minute"
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} day{'' if days == 1 else 's'}{f' {hours} h' if hours else ''}"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def _title(kind: MessageKind, wrong: Sequence[Incident], over: Sequence[Incident], host: str) -> str:
    if not wrong:
        what = over[0].code if len({each.code for each in over}) == 1 else f"{len(over)} problems"
        return f"nbguard on {host}: over: {what}"
    worst = max(wrong, key=lambda each: RANK[each.weight])
    again = "still: " if kind is MessageKind.REMINDER else ""
    count = f" ({len(wrong)})" if len(wrong) > 1 else ""
    return f"nbguard on {host}: {again}{_HEADLINES[worst.weight]}: {worst.code}{count}"


def _wrong_lines(incidents: Sequence[Incident], now: Instant) -> Iterable[str]:
    for position, group in enumerate(_groups(incidents)):
        if position == _MOST_GROUPS:
            yield "There is more; `nbguard status` lists it."
            return
        worst = group[0]
        age = duration((now.at - worst.began_at).total_seconds())
        if len(group) == 1:
            yield f"- {worst.code}: {_what(worst)}"
            yield f"  since {_utc(worst.began_at)} ({age})"
        else:
            yield f"- {worst.code}, {len(group):,} times, the first since {_utc(worst.began_at)} ({age}):"
            for each in group[:_MOST_SUBJECTS]:
                yield f"    {_what(each)}"
            if len(group) > _MOST_SUBJECTS:
                yield f"    and {len(group) - _MOST_SUBJECTS:,} more"
        if worst.hint:
            yield f"  what to do: {_readable(worst.hint)}"


def _over_lines(incidents: Sequence[Incident]) -> Iterable[str]:
    for position, group in enumerate(_groups(incidents)):
        if position == _MOST_GROUPS:
            return
        worst = group[0]
        times = f", {len(group):,} times" if len(group) > 1 else f": {_what(worst)}"
        yield f"- over: {worst.code}{times}"
        until = max((each.absent_at for each in group if each.absent_at is not None), default=worst.began_at)
        lasted = duration((until - worst.began_at).total_seconds())
        yield f"  it lasted {lasted}, from {_utc(worst.began_at)} to {_utc(until)}"
        if worst.weight is not Weight.WARNING:
            yield f"  {_missed(worst)}"


def _missed(incident: Incident) -> str:
    """What a stall or a gap has cost; that the daemon was down costs more than that a notebook waited."""
    if incident.code.startswith(("kernel", "recorder")):
        return "what was missed: cells that ran meanwhile may have no record"
    return (
        "what was missed: of notebooks saved more than once meanwhile, states in between may not have been kept; "
        "the last ones are (nbguard log NOTEBOOK)"
    )


def _roll_call(letter: Letter, state: State, host: str) -> Message:
    way = state.way(letter.channel)
    reminded = way.reminded if way is not None else 0
    human = way.human if way is not None else ""
    again = "" if not reminded else " (asked again)"
    code = spelled(letter.code) if letter.code else ""
    return Message(
        kind=MessageKind.ROLL_CALL,
        title=_one_line(f"nbguard on {host}: are you still there? Answer {code}{again}")[:_LONGEST_TITLE],
        body=(
            f"nbguard backs up the notebooks on {host}. When that stops, {_readable(human)} is told through the channel"
            f" {letter.channel!r}.\nSo that this never reaches an empty chair, please show that you read it:\n\n"
            f"    nbguard ack {code}\n\n"
            "on that machine, or on any that holds a copy of its archive. If nobody answers, the others are told.\n"
        ),
        code=letter.code,
    )


def _answer_lines(code: str, silent_days: float) -> list[str]:
    return [
        "This is repeated, and passed on to others, until somebody answers:",
        "",
        f"    nbguard ack {spelled(code)}",
        "",
        f"That silences what is above (nothing else) for {silent_days:g} days, or until it gets worse.",
    ]


def _groups(incidents: Sequence[Incident]) -> list[list[Incident]]:
    """By code, the worst group first, and in each the oldest first."""
    groups: dict[str, list[Incident]] = {}
    for each in sorted(incidents, key=lambda incident: incident.began_at):
        groups.setdefault(each.code, []).append(each)
    return sorted(groups.values(), key=lambda group: (-max(RANK[each.weight] for each in group), -len(group)))


def _what(incident: Incident) -> str:
    told = not incident.subject or incident.subject in incident.message
    return _readable(incident.message if told else f"{incident.subject}: {incident.message}")[:400]


def _utc(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _one_line(text: str) -> str:
    return " ".join(_readable(text).split())


def _readable(text: str) -> str:
    """Names can hold any byte, and state files any character: what is no text, or would move a terminal's cursor, is a
    question mark."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
