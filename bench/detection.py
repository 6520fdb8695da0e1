"""`python -m bench.detection`: runs the tests of the time to detect, and writes the table of what they measured."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_HEAD = """# Time to detect

How long a fault goes unseen, and until a human is told. Every row is a test that breaks a real installation
(`tests/detection`): a daemon as a process, checks as their timers start them, a human whose letters are files or whose
mail goes to a real server on loopback. What only a service manager can see happens in a machine of its own, under a
real systemd.

All intervals are divided by 30 by configuration, and what was waited for is multiplied again: the times below are those
of the default configuration. What a check itself takes is not multiplied.

*seen*: the first `check` (or `status`) that names it. *told*: a message through a channel. *advice*: shown, never sent.
"""

_FOOT = """
*packer locked out* counts from the save: packing is due after 15 minutes, and nothing is wrong before. The packer's own
pauses of three seconds are not divided, and are multiplied here all the same: with the defaults it is seen within 17.9
minutes and told within 19.9.

Old objects are read again in every full check: all of them where the archive is small (16 MB), else a share, so that
each is read twice in `checks.every_object_seconds` (7 days).

Not in the table, for nothing on the machine can see it: the machine is gone, the account is gone, the user manager is
gone for good. `nbguard check --mirror URL` on another machine tells after two hours ([mirrors](mirrors.md)), the dead
man's switch after the time that is set there ([alerts](alerts.md)), and the line in your prompt when you next see it.

A machine that slept is no fault: what was saved while the daemon did not run is found by the sweep after it woke, and
nobody is told of the time between (`tests/health/test_daemon_seen.py`, `tests/alert/test_ordinary_month.py`).

A month of ordinary laptop life (sleep, clocks that are set, idle weekends, unmounted disks, renamed folders, upgrades)
is simulated in `tests/alert/test_ordinary_month.py`: it sends nothing.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run them (or, with ``--from``, only write); pytest's exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.detection", description=__doc__)
    parser.add_argument("--from", dest="measured", help="JSON lines measured before, instead of running the tests")
    parser.add_argument("--workers", default="4")
    parser.add_argument("--report", default="docs/detection.md")
    options = parser.parse_args(arguments)
    code = 0
    if options.measured is None:
        options.measured = os.path.join(tempfile.mkdtemp(prefix="nbguard-detection-"), "measured.jsonl")
        words = ["-m", "pytest", "-q", "tests/detection", "-m", "long", "-n", options.workers]
        environment = {**os.environ, "NBGUARD_DETECTION_REPORT": options.measured}
        code = subprocess.run([sys.executable, *words], env=environment, check=False).returncode
    rows: dict[str, dict[str, Any]] = {}
    for line in Path(options.measured).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        rows[row["fault"]] = row
    Path(options.report).write_text(table(list(rows.values())), encoding="utf-8")
    return code


def table(rows: list[dict[str, Any]]) -> str:
    """The page."""
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    lines = [_HEAD, f"Measured on {today} by `python -m bench.detection`.", ""]
    lines += ["| fault | problem | seen after | told after | at most |", "|---|---|---|---|---|"]
    for row in rows:
        told = "advice" if row["told"] is None and row["seen"] is not None else spell(row["told"])
        codes = " ".join(f"`{code}`" for code in row["codes"])
        lines.append(f"| {row['fault']} | {codes} | {spell(row['seen'])} | {told} | {spell(row['minutes'] * 60)} |")
    return "\n".join(lines) + "\n" + _FOOT


def spell(seconds: float | None) -> str:
    """Seconds as people read them."""
    if seconds is None:
        return "–"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"


if __name__ == "__main__":
    sys.exit(main())
