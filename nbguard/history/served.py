"""What Jupyter servers say of their kernels; a server once met is asked also when its file is gone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from nbguard.jupyter_servers import Server, ServerSession, running_servers, sessions_of
from nbguard.processes import is_alive

UNHEARD = "unheard"


@dataclass(frozen=True, slots=True)
class Told:
    """One round of answers: sessions by kernel, the servers that answered, and those that did not."""

    sessions: dict[str, list[ServerSession]] = field(default_factory=dict)
    heard: frozenset[int] = frozenset()
    unheard: frozenset[int] = frozenset()

    def state_of(self, kernel: str, server_pid: int) -> str:
        """``idle``, ``busy`` … as its server has it; UNHEARD when that does not answer; empty when it has none."""
        for session in self.sessions.get(kernel, ()):
            return session.state
        return UNHEARD if server_pid in self.unheard else ""


class Servers:
    """The servers of this user. Use it from one thread."""

    def __init__(self) -> None:
        self._known: dict[int, Server] = {}

    def ask(self, runtimes: Iterable[str]) -> Told:
        """Every session of every server that wrote of itself in one of these folders."""
        for folder in runtimes:
            for server in running_servers(folder):
                self._known[server.pid] = server
        self._known = {pid: server for pid, server in self._known.items() if is_alive(pid)}
        sessions: dict[str, list[ServerSession]] = {}
        heard: set[int] = set()
        unheard: set[int] = set()
        for pid, server in self._known.items():
            told = sessions_of(server)
            (unheard if told is None else heard).add(pid)
            for session in told or ():
                sessions.setdefault(session.kernel, []).append(session)
        return Told(sessions, frozenset(heard), frozenset(unheard))
