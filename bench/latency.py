"""From the editor's last write to durable: a real daemon, a real Jupyter server, and plain writers."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.measure import median, percentile
from bench.processes import DaemonProcess, daemon, wait_for
from bench.results import Result
from bench.sources import Sources

_SAVES = 40
_APART_SECONDS = 0.25
_LOOK_SECONDS = 0.001
_GIVE_UP_SECONDS = 20.0


class _Arrivals:
    """Looks into spool/new every millisecond, and remembers when a draft was first there."""

    def __init__(self, running: DaemonProcess) -> None:
        self._running = running
        self._ending = threading.Event()
        self._seen: set[str] = set(running.spooled())
        self._times: list[int] = []
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._ending.wait(_LOOK_SECONDS):
            now = time.time_ns()
            new = [name for name in self._running.spooled() if name not in self._seen]
            self._seen.update(new)
            self._times += [now] * len(new)

    def __enter__(self) -> _Arrivals:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def next_after(self, count: int) -> int:
        """When the draft after the first ``count`` appeared (ns). Raises TimeoutError."""
        wait_for(lambda: len(self._times) > count, _GIVE_UP_SECONDS, "draft", every=_LOOK_SECONDS)
        return self._times[count]

    @property
    def count(self) -> int:
        return len(self._times)


def latency(work: str, sources: Sources) -> Result:
    """Medians over some saves by each kind of writer."""
    result = Result("latency", "From the editor's last write to durable, whole daemon", "python -m bench latency")
    desk, count = os.path.realpath(f"{work}/desk"), sources.count(_SAVES, 4)
    os.makedirs(desk)
    with daemon(f"{work}/home", desk) as running, _Arrivals(running) as arrivals:
        writers: dict[str, Callable[[str, bytes], int]] = {"writes and closes": _plain, "moves into place": _moving}
        for what, writer in writers.items():
            _row(result, what, _saves(arrivals, f"{desk}/{writer.__name__}.ipynb", count, writer), at_most=50)
        with _jupyter(desk, f"{work}/jupyter") as put:
            _row(
                result,
                "JupyterLab's server (PUT /api/contents)",
                _saves(arrivals, f"{desk}/lab.ipynb", count, put),
                at_most=50,
            )
    result.note("From the return of the writer's close or rename (Jupyter: the file's mtime) until the draft is in")
    result.note("spool/new, looked at every millisecond; the folder's fsync that follows is not in it (see save).")
    return result


def _saves(arrivals: _Arrivals, path: str, count: int, writer: Callable[[str, bytes], int]) -> list[float]:
    took = []
    for number in range(count):
        before = arrivals.count
        written = writer(path, _notebook(number))
        took.append((arrivals.next_after(before) - written) / 1e6)
        time.sleep(_APART_SECONDS)
    return took[1:]  # the first is a new notebook: Jupyter's is created before it is written


def _row(result: Result, what: str, took: list[float], *, at_most: float) -> None:
    detail = f"{len(took)} saves, p90 {percentile(took, 90):.0f} ms, slowest {max(took):.0f} ms"
    result.row(f"{what}: median", median(took), "ms", at_most=at_most, detail=detail)


def _notebook(number: int) -> bytes:
    text = "\\n".join(f"line {line} of save {number}" for line in range(2000))
    cell = {"cell_type": "markdown", "id": "one", "metadata": {}, "source": text}
    return json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1).encode() + b"\n"


def _plain(path: str, content: bytes) -> int:
    with open(path, "wb") as file:
        file.write(content)
    return time.time_ns()


def _moving(path: str, content: bytes) -> int:
    temporary = path + ".part"
    with open(temporary, "wb") as file:
        file.write(content)
    os.rename(temporary, path)
    return time.time_ns()


@contextmanager
def _jupyter(desk: str, own: str) -> Iterator[Callable[[str, bytes], int]]:
    """A Jupyter server on 127.0.0.1 with a token; gives a writer that saves through its REST API."""
    port, token = _free_port(), secrets.token_hex(16)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.port={port}", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={desk}"]
    folders = {f"JUPYTER_{name}_DIR": f"{own}/{name.lower()}" for name in ("CONFIG", "DATA", "RUNTIME")}
    with subprocess.Popen(
        command,
        env={**os.environ, **folders, "IPYTHONDIR": f"{own}/ipython"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:

        def request(method: str, path: str, body: object = None) -> int:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            headers = {"Authorization": f"token {token}", "Content-Type": "application/json"}
            try:
                connection.request(method, path, json.dumps(body) if body is not None else None, headers)
                return connection.getresponse().status
            except OSError:
                return 0
            finally:
                connection.close()

        def put(path: str, content: bytes) -> int:
            model = {"type": "notebook", "format": "json", "content": json.loads(content)}
            status = request("PUT", f"/api/contents/{os.path.basename(path)}", model)
            if status not in (200, 201):
                raise RuntimeError(f"the Jupyter server answered {status}")
            return os.stat(path).st_mtime_ns

        try:
            wait_for(lambda: request("GET", "/api/status") == 200, 60.0, "Jupyter server", every=0.2)
            yield put
        finally:
            server.terminate()
            server.wait(30)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
