"""A desk with a real JupyterLab, a daemon that guards it, and kernels that say themselves who they are."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbguard.app_history import executed_library
from nbguard.cli.context import Context
from nbguard.executed import Confidence, Link
from tests.helpers import poll
from tests.journeys.guarded import Guarded, guarding
from tests.journeys.jupyter_server import JupyterServer, jupyter_server, notebook

# Asked without a trace: neither history nor the count of executions changes.
_WHO = "__import__('os').getpid(), get_ipython().history_manager.session_number"


@dataclass(frozen=True)
class Truth:
    """One session as its kernel knows it."""

    pid: int
    session: int


class Kernel:
    """A kernel of the server; ``path`` is where its notebook is now."""

    def __init__(self, server: JupyterServer, session: str, kernel: str, path: str) -> None:
        from jupyter_client.blocking.client import BlockingKernelClient

        self._server = server
        self.session = session
        self.kernel = kernel
        self.path = path
        self.client = BlockingKernelClient(connection_file=str(server.runtime / f"kernel-{kernel}.json"))
        self.client.load_connection_file()
        self.client.start_channels(hb=False)  # a heart that pauses in a restart is no death
        self.client.wait_for_ready(120)

    def run(self, code: str) -> None:
        """One cell, as anybody runs it."""
        self.client.execute_interactive(code, timeout=60, output_hook=lambda message: None)

    def who(self) -> Truth:
        """What it knows of itself."""
        reply = self.client.execute_interactive(
            "", silent=True, store_history=False, user_expressions={"who": _WHO}, timeout=60
        )
        pid, session = json.loads(
            reply["content"]["user_expressions"]["who"]["data"]["text/plain"].replace("(", "[").replace(")", "]")
        )
        return Truth(pid, session)

    def restart(self) -> None:
        """A new process, and a new session, with the same connection file; it is not ready yet."""
        self._server.ask("POST", f"/api/kernels/{self.kernel}/restart")

    def close(self) -> None:
        """Let go of its channels; the kernel lives on."""
        self.client.stop_channels()
        self.client.context.destroy(linger=0)


@dataclass
class Desk:
    """``root`` is served and guarded."""

    server: JupyterServer
    guard: Guarded
    root: Path
    kernels: list[Kernel] = field(default_factory=list)

    def open(self, names: Iterable[str], *, first: str = "x = 1") -> list[Kernel]:
        """Make notebooks and start a kernel for each, all at once."""
        names = list(names)
        for name in names:
            self.server.autosave(name, notebook(first))
        made = []
        for name in names:
            body = {"path": name, "name": os.path.basename(name), "type": "notebook", "kernel": {"name": "python3"}}
            session = self.server.ask("POST", "/api/sessions", body)
            made.append((session["id"], session["kernel"]["id"], name))
        opened = [Kernel(self.server, *one) for one in made]
        self.kernels += opened
        return opened

    def rename_in_lab(self, kernel: Kernel, new: str) -> None:
        """As JupyterLab renames: the file, then its session."""
        self.server.rename(kernel.path, new)
        self.server.ask("PATCH", f"/api/sessions/{kernel.session}", {"path": new, "name": new})
        kernel.path = new

    def move(self, kernel: Kernel, new: str) -> None:
        """As a shell moves it: nobody tells the server."""
        os.rename(self.root / kernel.path, self.root / new)
        kernel.path = new

    def links(self) -> list[Link]:
        """Every link that was kept."""
        library = executed_library(Context(home=str(self.guard.home), config=None))
        try:
            return library.links()
        finally:
            library.close()

    def exact(self) -> dict[tuple[int, int], str | None]:
        """(pid, session) to the path that is linked exactly and now; one that is linked twice fails."""
        found: dict[tuple[int, int], str | None] = {}
        for link in self.links():
            if link.confidence is Confidence.EXACT and link.until is None and link.session is not None:
                assert link.pid is not None
                key = (link.pid, link.session)
                assert key not in found, f"{key} is linked to {found[key]} and {link.path}"
                found[key] = link.path
        return found

    def until_linked(self, truth: Truth, path: str | None, seconds: float = 30.0) -> None:
        """Until a session is linked to a notebook (relative to the root), exactly."""
        wanted = None if path is None else str(self.root / path)
        poll(lambda: self.exact().get((truth.pid, truth.session), "nothing") == wanted, seconds, every=0.25)

    def activity(self, kernel: Kernel) -> tuple[Any, Any]:
        """``last_activity`` of a kernel and of its server, read without being activity."""
        told = self.server.ask("GET", f"/api/kernels/{kernel.kernel}?no_track_activity=1")
        status = self.server.ask("GET", "/api/status?no_track_activity=1")
        return told["last_activity"], status["last_activity"]

    def state(self, kernel: Kernel) -> str:
        """What the server believes of a kernel."""
        return str(self.server.ask("GET", f"/api/kernels/{kernel.kernel}?no_track_activity=1")["execution_state"])


@contextmanager
def desk(base: Path) -> Generator[Desk]:
    """A running server and a running daemon, until the block ends."""
    home, root = base / "home", base / "work"
    with jupyter_server(home, root) as server:
        kept = {name: value for name, value in server.environment().items() if os.environ.get(name) != value}
        with guarding(base, root, environment=kept) as guard:
            at = Desk(server, guard, root)
            try:
                yield at
            finally:
                for kernel in at.kernels:
                    kernel.close()
