"""A report to paste into a bug report: versions, findings and numbers; no secrets, names reduced."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields

from nbguard import __version__
from nbguard.health.doctor import Patient
from nbguard.health.findings import Finding
from nbguard.settings import Settings

_NOTEBOOK = re.compile(r"[^\s/'\"]+\.ipynb\b")


def support_report(patient: Patient, findings: Sequence[Finding], home: str) -> str:
    """Text for somebody else to read."""
    lines = [
        f"nbguard {__version__}, Python {sys.version.split()[0]}, {platform.system()} {platform.release()} "
        f"{platform.machine()}",
    ]
    if sys.platform == "darwin":
        lines.append("macOS: nbguard is tested by protocol there, not yet on a real Mac")
    lines += ["", "findings:"]
    lines += [f"  {finding.level:5} {finding.check}: {finding.message}" for finding in findings]
    lines += ["", "settings:", *(f"  {line}" for line in _settings(patient.settings)), "", "daemon:"]
    lines += [f"  {line}" for line in _daemon(patient)]
    return reduce_names("\n".join(lines) + "\n", _names(patient), home)


def reduce_names(text: str, paths: Iterable[str], home: str) -> str:
    """``text`` with each of ``paths`` shortened to the first letters of its parts, and the home as ``~``."""
    for path in sorted(set(paths), key=len, reverse=True):
        if path.strip("/"):
            text = text.replace(path, reduce_path(path, home))
    if home.strip("/"):
        text = text.replace(home, "~")
    return _NOTEBOOK.sub(lambda found: _reduce(found[0]), text)


def reduce_path(path: str, home: str) -> str:
    """``/home/ada/work/churn model.ipynb`` becomes ``~/w…/c….ipynb``."""
    inside = path == home or path.startswith(home.rstrip("/") + "/")
    rest = os.path.relpath(path, home) if inside else path
    parts = [_reduce(part) if part not in ("", ".") else "" for part in rest.split("/")]
    return "/".join(["~", *filter(None, parts)]) if inside else "/".join(parts)


def _reduce(name: str) -> str:
    ending = ".ipynb" if name.endswith(".ipynb") else ""
    return f"{name[:1]}…{ending}"


def _settings(settings: Settings | None) -> list[str]:
    """Numbers that differ from the defaults; of everything else, how many."""
    if settings is None:
        return ["none"]
    default = Settings()
    lines = [f"{len(settings.roots)} roots, {len(settings.ignore)} ignore patterns"]
    for table in ("limits", "intervals", "packing"):
        mine, theirs = getattr(settings, table), getattr(default, table)
        for item in fields(mine):
            value = getattr(mine, item.name)
            if value != getattr(theirs, item.name):
                lines.append(f"{table}.{item.name} = {value}")
    return lines


def _daemon(patient: Patient) -> list[str]:
    beat = patient.heartbeat
    if beat is None:
        return ["no heartbeat"]
    lines = [f"nbguard {beat.version}, {'stopped' if beat.stopped else 'started'}, {beat.kept} versions kept"]
    lines += [
        f"root: {root.mode}, {root.notebooks} notebooks, {root.watches} watches {root.note}".rstrip()
        for root in beat.roots
    ]
    lines += [f"problem: {problem.code}" for problem in beat.problems]
    return lines


def _names(patient: Patient) -> set[str]:
    """Every path that may stand in the text and tells what somebody works on."""
    names = set(patient.roots)
    if patient.heartbeat is not None:
        names |= {root.path for root in patient.heartbeat.roots}
        names |= {problem.subject for problem in patient.heartbeat.problems}
    return names
