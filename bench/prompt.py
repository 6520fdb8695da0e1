"""What the line for a shell's prompt costs: its look, against a function that does nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import time

from bench.measure import median, rotated
from bench.processes import command, environment
from bench.results import Result

_PROMPTS = 200
_MS = 1000.0 / _PROMPTS


def prompt(work: str, rounds: int) -> Result:
    """Each shell prompts 200 times: with an empty function, with the start of any program, and with our lines."""
    result = Result("prompt", "The line for a shell's prompt", "python -m bench prompt")
    home = f"{work}/home"
    os.makedirs(f"{home}/state")
    asked = subprocess.run(
        command("service", "prompt"), env=environment(home), capture_output=True, text=True, check=True
    )
    path = f"{work}/lines.sh"
    with open(path, "w", encoding="utf-8") as file:
        file.write(asked.stdout)
    for shell in ("bash", "dash", "zsh"):
        if shutil.which(shell):
            _shell(result, shell, path, f"{home}/state/heartbeat.json", rounds)
    result.note(f"{_PROMPTS} prompts in one shell, the shell's own start taken off by the empty function's run.")
    result.note(
        "A usual look: ten seconds and more after the last one, and the daemon has beaten since; the shell reads its"
    )
    result.note("heartbeat. After minutes without a prompt, and always in dash, which counts no seconds: one `find`.")
    return result


def _shell(result: Result, shell: str, path: str, heartbeat: str, rounds: int) -> None:
    looks = {
        "empty": "empty",
        "program": "was=$(/bin/true)",
        "find": "nbguard_looked=; nbguard_look",
        "look": "nbguard_looked=$((SECONDS - 11)); nbguard_last=before; nbguard_look",
        "used": "nbguard_look",
    }
    taken: dict[str, list[float]] = {name: [] for name in looks}
    for number in range(rounds):
        for name, word in rotated(list(looks.items()), number):
            with open(heartbeat, "w", encoding="ascii") as file:
                file.write('{\n "pid": 1,\n "boot": "",\n "since": "",\n "beat_at": "now",\n}\n')
            began = time.perf_counter()
            _run(shell, path, word)
            taken[name].append((time.perf_counter() - began) * _MS)
    floor, program = median(taken["empty"]), median(taken["program"]) - median(taken["empty"])
    for name, what in (("find", "a look that starts find"), ("look", "a usual look"), ("used", "no look")):
        if shell == "dash" and name != "find":
            continue
        cost = max(0.0, median(taken[name]) - floor)
        result.row(
            f"{shell}: {what}, a prompt",
            cost,
            "ms",
            at_most=3.0,
            detail=f"{median(taken[name]) / floor:.1f} times a shell that calls an empty function "
            f"({median(taken[name]):.3f} of {floor:.3f} ms)",
        )
    result.row(
        f"{shell}: a look that starts find, of starting any program",
        (median(taken["find"]) - floor) / program,
        "×",
        detail=f"{median(taken['find']) - floor:.2f} of {program:.2f} ms",
    )


def _run(shell: str, path: str, word: str) -> None:
    script = f'. "$1"; empty() {{ :; }}; i=0; while [ $i -lt {_PROMPTS} ]; do {word}; i=$((i + 1)); done'
    done = subprocess.run([shell, "-c", script, shell, path], capture_output=True, check=True)
    if done.stderr or done.stdout:
        raise RuntimeError(f"{shell} said {done.stderr!r} {done.stdout!r}")
