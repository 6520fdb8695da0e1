"""The lines for a shell's start-up file; nbguard prints them, and edits no file of anybody's."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

_PLACE = re.compile(r"@([A-Z]+)@")
_LOGIN = "nbguard_look\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What a prompt looks at: our state folder, three files in it, the notes that the alert unit would leave, and after
    how many seconds a heartbeat is stale. ``emergency`` is only named to people."""

    state: str
    heartbeat: str
    notice: str
    stop: str
    notes: Sequence[str]
    emergency: str
    stale_seconds: float


def lines(signs: Signs, *, login: bool) -> str:
    """The text to add to a start-up file: looked at before every prompt, or with ``login`` once, when it is read."""
    minutes = max(1, round(signs.stale_seconds / 60))
    values = {
        "STATE": shlex.quote(signs.state),
        "HEARTBEAT": shlex.quote(signs.heartbeat),
        "NOTICE": shlex.quote(signs.notice),
        "STOP": shlex.quote(signs.stop),
        "NOTES": " ".join(map(shlex.quote, signs.notes)),
        "MINUTES": str(minutes),
        "SECONDS": str(60 * minutes),
        "STALE": shlex.quote(
            f"nbguard: no sign of life for {minutes} minutes: notebooks may not be kept. Run: nbguard status"
        ),
        "GONE": shlex.quote(
            f"nbguard: {signs.state} is gone: notebooks may not be kept. What was kept may be in {signs.emergency}"
        ),
    }
    text = _PLACE.sub(lambda found: values[found[1]], _read("prompt.sh"))
    return text + (_LOGIN if login else _read("hook.sh"))


def _read(name: str) -> str:
    return files("nbguard.surfaces").joinpath(name).read_text("utf-8")
