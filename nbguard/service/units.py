"""The text of unit files: templates with names between at-signs, filled in so that systemd reads the very words."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from nbguard.errors import Refused

DAEMON = "nbguard.service"
CHECK = "nbguard-check.service"
LIGHT = "nbguard-check-light.service"
CHECK_TIMER = "nbguard-check.timer"
LIGHT_TIMER = "nbguard-check-light.timer"
ALERT = "nbguard-alert@.service"
ALERT_SCRIPT = "alert.sh"

# The alert first: what names it in OnFailure= loads it.
UNITS = (ALERT, DAEMON, CHECK, LIGHT, CHECK_TIMER, LIGHT_TIMER)
SERVICES = (DAEMON, CHECK, LIGHT)
TIMERS = (CHECK_TIMER, LIGHT_TIMER)

_MOST_FIRST_SECONDS = 120.0
_MOST_PAUSE_SECONDS = 30.0
_SLACK = 30.0
_PLACE = re.compile(r"@([A-Z]+)@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """What the templates are filled with: the command's words, variables, the two folders that notes of failures go to
    (the emergency place, and the last resort), and how often the checks run, in seconds."""

    command: Sequence[str]
    environment: Mapping[str, str]
    places: tuple[str, str]
    light_seconds: float
    full_seconds: float


def note_of(unit: str, folder: str) -> str:
    """Where the alert unit notes that ``unit`` failed."""
    return os.path.join(folder, f"ALERT-{unit}")


def _left_by(unit: str, folder: str) -> tuple[str, str]:
    """What the alert unit leaves for ``unit`` until it runs well again."""
    return note_of(unit, folder), os.path.join(folder, f".failed-{unit}")


def render_all(template: Callable[[str], str], filling: Filling) -> dict[str, str]:
    """Every unit by name; ``template`` gives the text of one. Raises Refused for words that no unit can hold."""
    script = template(ALERT_SCRIPT)
    return {unit: render(unit, template(unit), filling, script=script) for unit in UNITS}


def render(unit: str, text: str, filling: Filling, *, script: str = "") -> str:
    """One unit with its places filled in. Raises Refused for words that no unit file can hold."""
    every = filling.light_seconds if unit == LIGHT_TIMER else filling.full_seconds
    values = {
        "COMMAND": " ".join(_word(word, is_argument=number > 0) for number, word in enumerate(filling.command)),
        "ENVIRONMENT": "\n".join(
            f"Environment={_word(f'{name}={value}')}" for name, value in sorted(filling.environment.items())
        ),
        "NOTES": " ".join(_word(path, is_argument=True) for place in filling.places for path in _left_by(unit, place)),
        "PAUSE": f"{min(filling.light_seconds / 4, _MOST_PAUSE_SECONDS):g}",
        "PLACES": " ".join(_word(place, is_argument=True) for place in filling.places),
        "SCRIPT": _word(script, is_argument=True, is_text=True),
        "FIRST": _seconds(min(every, _MOST_FIRST_SECONDS)),
        "EVERY": _seconds(every),
        "SLACK": _seconds(every / _SLACK),
    }
    filled = _PLACE.sub(lambda found: values[found[1]], text)
    return re.sub(r"\n{3,}", "\n\n", filled)


def _seconds(seconds: float) -> str:
    """systemd.time(7); its smallest slack is a microsecond."""
    return f"{max(1, round(seconds * 1000))}ms"


def _word(text: str, *, is_argument: bool = False, is_text: bool = False) -> str:
    """One word in double quotes: systemd.syntax(7), systemd.unit(5) on percent signs, systemd.service(5) on dollars.

    Variables are put into arguments only: a doubled dollar in the program's own path would stay two. ``is_text`` may
    have several lines.
    """
    if not (text.replace("\n", "") if is_text else text).isprintable():
        raise Refused(f"{text!a} cannot stand in a unit file", hint="use paths without control characters")
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("%", "%%")
    if is_argument:
        quoted = quoted.replace("$", "$$")
    return f'"{quoted}"'
