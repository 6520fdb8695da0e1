"""Which running Jupyter servers of ours have a notebook open: they are asked, on this machine only, and only asked.

Every question carries ``no_track_activity=1``, so that no idle server or kernel is kept from being culled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

from nbguard.recover.folder import open_file

TIMEOUT_SECONDS = 1.0
_MOST_SERVERS = 16
_MOST_INFO_BYTES = 1 << 16
_MOST_ANSWER_BYTES = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What a server wrote about itself in the runtime folder; ``sock`` is a unix socket's path, or empty.

    ``everywhere`` says that it listens on every address; its URL then names the machine, not the loopback.
    """

    url: str
    token: str
    root: str
    sock: str
    everywhere: bool = False


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


def servers_with(path: str, runtime: str) -> list[str]:
    """URLs (without tokens) of the running servers that have ``path`` open. Never raises for a server's faults."""
    wanted = os.path.realpath(path)
    found = []
    for server in running_servers(runtime)[:_MOST_SERVERS]:
        root = os.path.realpath(server.root)
        if wanted.startswith(root.rstrip("/") + "/"):
            opened = {os.path.realpath(os.path.join(root, name.lstrip("/"))) for name in _sessions(server)}
            if wanted in opened:
                found.append(server.url)
    return found


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


def _server(path: str) -> Server | None:
    try:
        fd = open_file(path)
    except OSError:
        return None
    if fd is None:
        return None
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            return None
        raw = file.read(_MOST_INFO_BYTES)
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


def _sessions(server: Server) -> list[str]:
    """Paths of the notebooks that have a session, relative to the server's root; empty when it does not answer."""
    try:
        connection, base = _connect(server)
    except ValueError:
        return []
    headers = {"Authorization": f"token {server.token}"} if server.token else {}
    try:
        connection.request("GET", base.rstrip("/") + "/api/sessions?no_track_activity=1", headers=headers)
        answer = connection.getresponse()
        if answer.status != 200:
            return []
        sessions = json.loads(answer.read(_MOST_ANSWER_BYTES))
    except (OSError, HTTPException, ValueError, RecursionError):
        return []
    finally:
        connection.close()
    return [name for session in sessions if (name := _path_of(session))] if isinstance(sessions, list) else []


def _path_of(session: object) -> str:
    if not isinstance(session, dict):
        return ""
    notebook = session.get("notebook")
    name = session.get("path") or (notebook.get("path") if isinstance(notebook, dict) else None)
    return name if isinstance(name, str) and "\0" not in name else ""


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
