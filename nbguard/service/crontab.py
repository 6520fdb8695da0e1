"""Where no service manager answers: the lines for `crontab -e` that stand in for daemon and checks."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from nbguard.settings import Checks


def crontab(command: Sequence[str], *, home: str | None, checks: Checks) -> list[str]:
    """Three lines: the daemon at boot, the light check, the whole one. What a check says goes nowhere (its channels are
    how it tells); what it complains of, cron mails. A percent sign is a new line to cron (crontab(5))."""
    words = shlex.join(command)
    if home is not None:
        words = f"NBGUARD_HOME={shlex.quote(home)} {words}"
    words = words.replace("%", "\\%")
    return [
        f"@reboot {words} run",
        f"{_every(checks.light_seconds)} {words} check --light >/dev/null",
        f"{_every(checks.full_seconds)} {words} check >/dev/null",
    ]


def _every(seconds: float) -> str:
    """cron counts in whole minutes of an hour."""
    minutes = max(1, round(seconds / 60))
    return "* * * * *" if minutes == 1 else f"*/{min(minutes, 30)} * * * *"
