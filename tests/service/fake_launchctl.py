"""launchctl's protocol as a small state machine: its documented and reported exit codes, and a bootout that takes time.

It proves what we ask and how we take the answers, not what a Mac does.
"""

from __future__ import annotations

import os
import plistlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from nbguard.service.manager import Answer


@dataclass
class FakeLaunchctl:
    """``has_gui`` is False over SSH; a job that was booted out is seen for ``dying`` more calls."""

    has_gui: bool = True
    dying: int = 2
    starts: bool = True
    calls: list[list[str]] = field(default_factory=list)
    jobs: dict[str, int | None] = field(default_factory=dict)

    def __call__(self, command: Sequence[str]) -> Answer:
        self.calls.append(list(command))
        name, verb, *words = command
        target = words[1] if words[0] == "-k" else words[0]
        assert name == "launchctl"
        assert (words[0] == "-k") == (verb == "kickstart"), "without -k a job that hangs is left as it is"
        self._tick()
        if target.startswith("gui/") and not self.has_gui:
            return Answer(125, "", f"{verb}: 125: Domain does not support specified action")
        if verb == "bootstrap":
            return self._bootstrap(target, command[3])
        if verb == "print" and target.count("/") == 1:
            return Answer(0, f"{target} = {{}}", "")
        if target not in self.jobs:
            missing = Answer(113, "", f'Could not find service "{target}"')
            return Answer(3, "", "Boot-out failed: 3: No such process") if verb == "bootout" else missing
        if verb == "bootout":
            self.jobs[target] = self.dying
        if verb == "print":
            state = "SIGTERMed" if self.jobs[target] is not None else "running" if self.starts else "spawn scheduled"
            return Answer(0, f"{target} = {{\n\tstate = {state}\n\tpid = 4711\n\truns = 3\n}}", "")
        return Answer(0, "", "")

    def _bootstrap(self, domain: str, path: str) -> Answer:
        refused = Answer(5, "", "Bootstrap failed: 5: Input/output error")
        with open(path, "rb") as file:
            plist = plistlib.load(file)
        label = plist["Label"]
        if os.path.basename(path) != f"{label}.plist" or os.stat(path).st_mode & 0o022:
            return refused
        if not os.path.isabs(plist["ProgramArguments"][0]) or f"{domain}/{label}" in self.jobs:
            return refused
        self.jobs[f"{domain}/{label}"] = None
        return Answer(0, "", "")

    def _tick(self) -> None:
        for job, left in list(self.jobs.items()):
            if left is not None:
                if left == 0:
                    del self.jobs[job]
                else:
                    self.jobs[job] = left - 1
