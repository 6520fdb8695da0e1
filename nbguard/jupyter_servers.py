"""The running Jupyter servers of this user, and what they have open: asked on this machine only.

Every question carries ``no_track_activity=1``, so that no idle server or kernel is kept from being culled.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

TIMEOUT_SECONDS = 1.0
_MOST_INFO_BYTES = 1 << 16
_MOST_ANSWER_BYTES = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What a server wrote about itself in the runtime folder; the token is no part of ``repr``.

    ``sock`` is a unix socket's path, or empty.
    ``everywhere`` says that it listens on every address; its URL then names the machine, not the loopback.
    """

    url: str
    token: str = field(repr=False)
    root: str
    sock: str
    everywhere: bool = False
    pid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSession:
    """One session as a server tells it: ``path`` is absolute, ``kind`` is ``notebook``, ``console`` or another.

    ``state`` is what the server believes of the kernel (``idle``, ``busy``, ``starting``), or empty.
    """

    kernel: str
    path: str
    kind: str
    state: str
    kernel_name: str


def runtime_folder(environment: Mapping[str, str], home: str, platform: str) -> str:
    """Where Jupyter servers of this user write what they are; the rules of jupyter_core."""
    if chosen := environment.get("JUPYTER_RUNTIME_DIR"):
        return chosen
    if data := environment.get("JUPYTER_DATA_DIR"):
        return os.path.join(data, "runtime")
    if platform == "darwin":
        return os.path.join(home, "Library", "Jupyter", "runtime")
    share = environment.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")
    return os.path.join(share, "jupyter", "runtime")


def running_servers(runtime: str) -> list[Server]:
    """Every server on this machine that says it runs; files that are not ours are not believed."""
    try:
        names = sorted(os.listdir(runtime))
    except OSError:
        return []
    servers = []
    for name in names:
        if name.startswith(("jpserver-", "nbserver-")) and name.endswith(".json"):
            server = _server(os.path.join(runtime, name))
            if server is not None:
                servers.append(server)
    return servers


def read_own(path: str) -> bytes | None:
    """A small file that only we can have written; None for anything else, and for one that is gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        is_ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022
        return os.read(fd, _MOST_INFO_BYTES) if is_ours else None
    except OSError:
        return None
    finally:
        os.close(fd)


def _server(path: str) -> Server | None:
    raw = read_own(path)
    if raw is None:
        return None
    try:
        info = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(info, dict) or not _lives(info.get("pid")):
        return None
    root = info.get("root_dir") or info.get("notebook_dir")
    if not isinstance(root, str) or not os.path.isabs(root):
        return None
    return Server(
        url=str(info.get("url") or ""),
        token=str(info.get("token") or ""),
        root=root,
        sock=str(info.get("sock") or ""),
        everywhere=info.get("hostname") in ("0.0.0.0", "::"),
        pid=int(info["pid"]),
    )


def _lives(pid: object) -> bool:
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return not isinstance(pid, bool) and pid < 1 << 31
    return True


def sessions_of(server: Server) -> list[ServerSession] | None:
    """Every session of a server with the path it has now; None when it does not answer. Never raises."""
    told = _ask(server)
    return None if told is None else [found for one in told if (found := _session(one, server.root)) is not None]


def _ask(server: Server) -> list[object] | None:
    try:
        connection, base = _connect(server)
    except ValueError:
        return None
    headers = {"Authorization": f"token {server.token}"} if server.token else {}
    try:
        connection.request("GET", base.rstrip("/") + "/api/sessions?no_track_activity=1", headers=headers)
        answer = connection.getresponse()
        if answer.status != 200:
            return None
        sessions = json.loads(answer.read(_MOST_ANSWER_BYTES))
    except (OSError, HTTPException, ValueError, RecursionError):
        return None
    finally:
        connection.close()
    return sessions if isinstance(sessions, list) else None


def _session(told: object, root: str) -> ServerSession | None:
    if not isinstance(told, dict):
        return None
    notebook, kernel = told.get("notebook"), told.get("kernel")
    name = told.get("path") or (notebook.get("path") if isinstance(notebook, dict) else None)
    if not isinstance(name, str) or not name or "\0" in name:
        return None
    about = kernel if isinstance(kernel, dict) else {}
    return ServerSession(
        kernel=str(about.get("id") or ""),
        path=os.path.join(root, name.lstrip("/")),
        kind=str(told.get("type") or "notebook"),
        state=str(about.get("execution_state") or ""),
        kernel_name=str(about.get("name") or ""),
    )


def _connect(server: Server) -> tuple[HTTPConnection, str]:
    """A connection that uses no proxy and follows no redirect. Raises ValueError for a host that is not this one."""
    parts = urlsplit(server.url)
    if server.sock or parts.scheme == "http+unix":
        return _UnixConnection(server.sock or unquote(parts.netloc)), parts.path
    host = "127.0.0.1" if server.everywhere else parts.hostname or ""
    if host != "localhost" and not ip_address(host).is_loopback:
        raise ValueError(host)
    if parts.scheme == "https":
        import ssl

        # Self-signed as a rule, and the connection does not leave this machine.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return HTTPSConnection(host, parts.port, timeout=TIMEOUT_SECONDS, context=context), parts.path
    return HTTPConnection(host, parts.port, timeout=TIMEOUT_SECONDS), parts.path


class _UnixConnection(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, socket_path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_SECONDS)
        self._socket_path = socket_path

    def connect(self) -> None:
        import socket

        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._socket_path)
