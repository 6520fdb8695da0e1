"""Real kernels to record, and memory that keeps what was recorded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from nbguard.clock import SystemClock
from nbguard.errors import StorageTrouble
from nbguard.executed import Record, Run, RunOutputs
from nbguard.flight.caps import Caps
from nbguard.flight.kernels import KernelToRecord
from nbguard.flight.recorder import FlightRecorder
from tests.helpers import poll


@dataclass
class Kept:
    """A record log and an output store in memory; the last of an id counts, as on the disk."""

    runs: dict[str, Run] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    appended: int = 0
    is_full: bool = False

    def append(self, records: Sequence[Record]) -> None:
        if self.is_full:
            raise StorageTrouble("no room for records", code="no-space")
        for record in records:
            assert isinstance(record, Run)
            self.runs[record.id] = record
            self.appended += 1

    def put(self, outputs: Sequence[RunOutputs]) -> None:
        for one in outputs:
            self.texts[one.run] = one.outputs

    def get(self, run: str, since: datetime | None = None) -> str | None:
        return self.texts.get(run)

    def named(self, source: str) -> Run | None:
        """The newest run of just that code."""
        return next((run for run in reversed(self.runs.values()) if run.source == source), None)

    def outputs(self, run: Run) -> list[dict[str, Any]]:
        return list(json.loads(self.texts[run.id])) if run.id in self.texts else []


class Kernel:
    """One real kernel with a client of its own, as a front end has."""

    def __init__(self, *, transport: str = "tcp", encryption: str = "disabled") -> None:
        self._folder = tempfile.mkdtemp(prefix="k")  # short: a socket's path has 107 bytes at most
        self.manager = KernelManager(transport=transport, connection_file=f"{self._folder}/kernel-1.json")
        spec = self.manager.kernel_spec
        assert spec is not None
        spec.argv[0] = sys.executable
        self._encryption = encryption
        self.client: BlockingKernelClient

    def start(self, **more: Any) -> None:
        self.manager.start_kernel(transport_encryption=self._encryption, stderr=subprocess.DEVNULL, **more)
        self.connect()

    def connect(self) -> None:
        client = self.manager.client()
        assert isinstance(client, BlockingKernelClient)
        self.client = client
        client.start_channels()
        client.wait_for_ready(timeout=60)

    def run(self, code: str, *, timeout_seconds: float = 60, **more: Any) -> dict[str, Any]:
        """Run code; the reply's content."""
        reply = self.client.execute(code, reply=True, timeout=timeout_seconds, **more)
        return dict(reply["content"])

    @property
    def pid(self) -> int:
        provisioner: Any = self.manager.provisioner
        return int(provisioner.pid)

    def to_record(self, path: str | None = "/desk/nb.ipynb", **more: Any) -> KernelToRecord:
        info = self.manager.get_connection_info()
        return KernelToRecord(
            kernel=f"kernel-{info['iopub_port']}",
            path=path,
            transport=str(info["transport"]),
            ip=str(info["ip"]),
            iopub_port=int(info["iopub_port"]),
            key=_bytes(info["key"]),
            scheme=str(info["signature_scheme"]),
            curve_public=_bytes(info.get("curve_publickey")),
            curve_secret=_bytes(info.get("curve_secretkey")),
            **more,
        )

    def end(self) -> None:
        if hasattr(self, "client"):
            self.client.stop_channels()
        if self.manager.has_kernel:
            self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()
        shutil.rmtree(self._folder, ignore_errors=True)


def _bytes(value: object) -> bytes:
    return value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else b""


@contextmanager
def kernel(*, environment: Mapping[str, str] | None = None, **more: Any) -> Iterator[Kernel]:
    """A running kernel, ended afterwards."""
    started = Kernel(**more)
    try:
        started.start(env={**os.environ, **(environment or {})})
        yield started
    finally:
        started.end()


class Recording:
    """A recorder in this process, worked by hand."""

    def __init__(self, kernels: list[KernelToRecord], caps: Caps | None = None) -> None:
        self.kernels = kernels
        self.kept = Kept()
        self.recorder = FlightRecorder(
            kernels=lambda: self.kernels,
            log=self.kept,
            outputs=self.kept,
            clock=SystemClock(),
            caps=caps or Caps(),
            keep_every_seconds=0.05,
            restart_seconds=1.0,
        )

    def until(self, condition: Callable[[], object], seconds: float = 20.0) -> None:
        """Work until it is so."""

        def so() -> bool:
            self.recorder.step(0.05)
            return bool(condition())

        poll(so, seconds, every=0.0)

    def run_of(self, source: str, seconds: float = 20.0) -> Run:
        """The kept run of that code, once it has ended."""
        self.until(lambda: (run := self.kept.named(source)) is not None and run.ended_at is not None, seconds)
        found = self.kept.named(source)
        assert found is not None
        return found

    def joined(self, some: Kernel) -> int:
        """Wait until the receiver hears a kernel; how many cells that took."""
        asked = 0

        def heard() -> bool:
            nonlocal asked
            some.run("'hear me'")
            asked += 1
            self.recorder.step(0.1)
            return self.kept.named("'hear me'") is not None

        poll(heard, 30.0)
        return asked


@contextmanager
def recording(*kernels: KernelToRecord, caps: Caps | None = None) -> Iterator[Recording]:
    """A recorder that is stopped afterwards, its receiver with it."""
    made = Recording(list(kernels), caps)
    try:
        yield made
    finally:
        made.recorder.stop()


def resident_bytes(pid: int) -> int:
    """RSS."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
