"""What the recorder costs a cell: one kernel with and without a subscriber, in turn. `python -m bench.recorder`."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager

from bench.facts import facts
from bench.measure import processor_seconds, proportional_memory
from bench.results import Result, append_json, as_text, report
from nbguard.clock import SystemClock
from nbguard.executed import Record, Run, RunOutputs
from nbguard.flight.caps import Caps
from nbguard.flight.kernels import KernelToRecord
from nbguard.flight.recorder import FlightRecorder

_CELLS = {
    "a number": "6 * 7",
    "100 lines printed": "for number in range(100): print(number, 'of a hundred lines')",
    "an image of 100 kB": (
        "from IPython.display import publish_display_data as publish\n"
        "publish({'image/png': 'A' * 100_000, 'text/plain': 'x'})"
    ),
    "2,000 lines, each sent by itself": "for number in range(2000): print(number, flush=True)",
}
_IN_A_BLOCK = {"2,000 lines, each sent by itself": 1}
_SAMPLES = 4000
_WORDS = (
    "What the flight recorder costs the cells of a kernel. One kernel runs the same cell again and again, in blocks of",
    "twenty; a subscriber (receiver and recorder, in processes of their own as in the daemon) is there in one block of",
    "each pair and not in the other, in random order. A cell takes from its request to its `idle`. The difference of",
    "the two medians is taken for each pair; given are the median of these differences and its 95 % interval",
    "(bootstrap over the pairs). A cell that sends each of 2,000 lines by itself has no target; it is there for those",
    "who flush.",
)


@dataclass
class _Nothing:
    """Keeps what was recorded in memory, as little of it as the test of joining needs."""

    sources: set[str] = field(default_factory=set)

    def append(self, records: Sequence[Record]) -> None:
        self.sources |= {record.source for record in records if isinstance(record, Run)}

    def put(self, outputs: Sequence[RunOutputs]) -> None:
        pass

    def get(self, run: str, since: datetime | None = None) -> str | None:
        return None


def _record(pipe: Connection, kernel: KernelToRecord) -> None:
    """The recorder's process: told ``follow`` or ``leave``, asked whether it has heard a source."""
    kept, kernels = _Nothing(), list[KernelToRecord]()
    recorder = FlightRecorder(
        kernels=lambda: kernels, log=kept, outputs=kept, clock=SystemClock(), caps=Caps(), keep_every_seconds=0.01
    )
    while True:
        if pipe.poll(0 if kernels else 0.05):
            word = pipe.recv()
            if word == "end":
                recorder.stop()
                return
            if word in ("follow", "leave"):
                kernels[:] = [kernel] if word == "follow" else []
                recorder.look_now()
                recorder.step(0.05)
                pipe.send(recorder.receiver_pid)
            else:
                pipe.send(word in kept.sources)
        recorder.step(0.05)


class _Subject:
    """The kernel, its client, and the recorder beside them."""

    def __init__(self, folder: str) -> None:
        self.manager = KernelManager(connection_file=f"{folder}/kernel-1.json")
        environment = {**os.environ, "HOME": folder, "IPYTHONDIR": f"{folder}/ipython"}
        # Its history in memory: an fsync for each cell would drown what is measured.
        self.manager.start_kernel(env=environment, extra_arguments=["--HistoryManager.hist_file=:memory:"])
        # Bare sockets: what a client makes of messages takes longer, and varies more, than what is measured.
        self._shell, self._iopub = self.manager.connect_shell(b"bench"), self.manager.connect_iopub()
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        self._pipe = ours
        self._child = multiprocessing.get_context("spawn").Process(target=_record, args=(theirs, self._told()))
        self._child.start()
        self._number = 0
        while not self._iopub.poll(0):  # it is up, and we hear it
            self._ask("1")
            self._shell.recv_multipart()
            time.sleep(0.1)
        self.receiver = 0
        self.recorder = self._child.pid or 0

    def _told(self) -> KernelToRecord:
        info: Any = self.manager.get_connection_info()
        return KernelToRecord(
            kernel="1",
            path="/nb.ipynb",
            transport=info["transport"],
            ip=info["ip"],
            iopub_port=info["iopub_port"],
            key=info["key"].encode() if isinstance(info["key"], str) else info["key"],
        )

    def _ask(self, code: str) -> bytes:
        """Send a request; its id."""
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": False}
        session: Any = self.manager.session
        message = session.msg("execute_request", content)
        self._shell.send_multipart(session.serialize(message))
        return bytes(message["header"]["msg_id"].encode())

    def cell_seconds(self, code: str) -> float:
        """From the request to the idle state that ends it. Raises TimeoutError."""
        began = time.perf_counter()
        asked = self._ask(code)
        while True:
            if not self._iopub.poll(60_000):
                raise TimeoutError("the kernel says nothing more")
            *_, parent, _, content_sent = self._iopub.recv_multipart()
            if b'"idle"' in content_sent and asked in parent:
                break
        took = time.perf_counter() - began
        self._shell.recv_multipart()
        return took

    def subscribe(self, wanted: bool) -> None:
        """Let the recorder follow or leave; back when it hears, or hears no more."""
        self._pipe.send("follow" if wanted else "leave")
        self.receiver = self._pipe.recv() or self.receiver
        deadline = time.monotonic() + 30
        while wanted and time.monotonic() < deadline:
            self._number += 1
            self.cell_seconds(source := f"'hear {self._number}'")
            time.sleep(0.05)
            self._pipe.send(source)
            if self._pipe.recv():
                return
        assert not wanted, "the recorder hears nothing"

    def end(self) -> None:
        self._pipe.send("end")
        self._child.join(10)
        self._shell.close()
        self._iopub.close()
        self.manager.shutdown_kernel(now=True)


@contextmanager
def _subject(work: str) -> Iterator[_Subject]:
    folder = tempfile.mkdtemp(prefix="k", dir=work)
    subject = _Subject(folder)
    try:
        yield subject
    finally:
        subject.end()
        shutil.rmtree(folder, ignore_errors=True)


def recorder(work: str, rounds: int, seconds: float) -> Result:
    """Pairs of blocks for each kind of cell, then memory, then idleness."""
    result = Result("recorder", "The flight recorder, for each cell", f"python -m bench.recorder --rounds {rounds}")
    result.note("The kernel keeps its history in memory: an fsync for each cell would drown what is measured.")
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        result.note(
            "All of it ran with real-time priority (`chrt -r 5`), because the machine had other work to do. Where the"
            " recorder took the second core, that work did not: this is why differences can be below zero."
        )
    chance = random.Random(1)
    with _subject(work) as subject:
        pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in _CELLS}
        for _ in range(rounds):
            for name, found in pairs.items():
                found.append(_pair(subject, _CELLS[name], _IN_A_BLOCK.get(name, 20), chance))
        for name, found in pairs.items():
            _rows(result, name, found, chance)
        subject.subscribe(True)
        result.row("memory of the receiver (PSS)", proportional_memory(subject.receiver) / 1e6, "MB")
        used = processor_seconds(subject.receiver)
        began = time.monotonic()
        time.sleep(seconds)
        share = (processor_seconds(subject.receiver) - used) / (time.monotonic() - began) * 100
        result.row("the receiver while nothing runs, of one core", share, "%", detail=f"{seconds:.0f} s")
    return result


def _pair(subject: _Subject, code: str, cells: int, chance: random.Random) -> tuple[float, float]:
    """Median seconds of a cell without and with the subscriber."""
    medians = {}
    for wanted in chance.sample([False, True], 2):
        subject.subscribe(wanted)
        subject.cell_seconds(code)  # the first after a change is slower, whichever it was
        medians[wanted] = statistics.median(subject.cell_seconds(code) for _ in range(cells))
    return medians[False], medians[True]


def _rows(result: Result, name: str, pairs: list[tuple[float, float]], chance: random.Random) -> None:
    differences = [(after - before) * 1e3 for before, after in pairs]
    low, high = _interval(differences, chance)
    without = statistics.median(before for before, _ in pairs) * 1e3
    found = statistics.median(differences)
    is_usual = name not in _IN_A_BLOCK
    result.row(
        f"{name}: more with the recorder",
        found,
        "ms",
        at_most=0.5 if is_usual else None,
        detail=f"95 % interval {low:+.3f} to {high:+.3f} ms; {without:.2f} ms without; {len(pairs)} pairs",
    )
    if is_usual:
        result.row(f"{name}: the interval's upper end", high, "ms", at_most=0.5)


def _interval(values: Sequence[float], chance: random.Random) -> tuple[float, float]:
    """95 % of the medians of samples drawn with replacement lie in it."""
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(_SAMPLES))
    return medians[int(_SAMPLES * 0.025)], medians[int(_SAMPLES * 0.975)]


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and write the report where asked; 0 whatever was measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.recorder", description=__doc__)
    parser.add_argument("--rounds", type=int, default=25, help="pairs of blocks for each kind of cell (25)")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long idleness is watched (20)")
    parser.add_argument("--work", default="/var/tmp", help="where the kernel's files are written (/var/tmp)")
    parser.add_argument("--out", default="bench-results", help="folder for the JSON lines (bench-results)")
    parser.add_argument("--report", metavar="FILE", help="write the report there")
    options = parser.parse_args(arguments)
    known = facts(options.work)
    result = recorder(options.work, options.rounds, options.seconds)
    print(as_text(result), flush=True)
    append_json(options.out, result, known)
    if options.report:
        asked = " ".join(["python -m bench.recorder", *(sys.argv[1:] if arguments is None else arguments)])
        Path(options.report).write_text(report([result], known, asked, _WORDS), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
