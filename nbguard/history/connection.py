"""How a kernel is reached: its connection file, read once and then held in memory only.

The key lets its holder run code in the kernel. It never reaches a log, a message, a record or the archive.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from nbguard.jupyter_servers import read_own

_LOCAL = ("", "*", "0.0.0.0", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What a connection file says (jupyter_client's ``write_connection_file``). Keys are no part of ``repr``.

    ``told_path`` is what the server had as the session's path when it wrote the file, or empty.
    """

    transport: str
    ip: str
    control_port: int
    iopub_port: int
    shell_port: int = 0
    key: bytes = field(default=b"", repr=False)
    scheme: str = "hmac-sha256"
    curve_public: bytes = field(default=b"", repr=False)
    curve_secret: bytes = field(default=b"", repr=False)
    told_path: str = ""
    kernel_name: str = ""

    @property
    def control_address(self) -> str:
        """What ZeroMQ connects to; a kernel that listens everywhere is reached on this machine."""
        return self._address(self.control_port)

    @property
    def shell_address(self) -> str:
        """The same of the channel on which cells are run."""
        return self._address(self.shell_port)

    def _address(self, port: int) -> str:
        if self.transport == "ipc":
            return f"ipc://{self.ip}-{port}"
        return f"{self.transport}://{'127.0.0.1' if self.ip in _LOCAL else self.ip}:{port}"


def read_connection(path: str) -> Connection | None:
    """The connection file at ``path``; None when it is gone, is not ours alone to write, or makes no sense."""
    raw = read_own(path)
    try:
        told = json.loads(raw) if raw is not None else None
    except (ValueError, RecursionError):
        return None
    return _understood(told) if isinstance(told, dict) else None


def _understood(told: dict[str, object]) -> Connection | None:
    transport, ip = told.get("transport"), told.get("ip")
    control, iopub, shell = told.get("control_port"), told.get("iopub_port"), told.get("shell_port")
    if transport not in ("tcp", "ipc") or not isinstance(ip, str) or "\0" in ip:
        return None
    if not isinstance(control, int) or not isinstance(iopub, int):
        return None
    return Connection(
        transport=str(transport),
        ip=ip,
        control_port=control,
        iopub_port=iopub,
        shell_port=shell if isinstance(shell, int) else 0,
        key=_bytes(told.get("key")),
        scheme=_text(told.get("signature_scheme")) or "hmac-sha256",
        curve_public=_bytes(told.get("curve_publickey")),
        curve_secret=_bytes(told.get("curve_secretkey")),
        told_path=_text(told.get("jupyter_session")),
        kernel_name=_text(told.get("kernel_name")),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) and "\0" not in value else ""


def _bytes(value: object) -> bytes:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b""
