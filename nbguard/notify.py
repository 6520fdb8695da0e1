"""Telling systemd how we are: one datagram to the socket it gave us (sd_notify(3)). Without one, nothing happens."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    """``watchdog_seconds`` is how long systemd waits between two pings; None when it waits for none."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", str(os.getpid()))
        is_for_us = usec.isdigit() and int(usec) > 0 and pid == str(os.getpid())
        self.watchdog_seconds = int(usec) / 1e6 if is_for_us else None

    def tell(self, *lines: str) -> None:
        """Send lines such as ``READY=1``. A manager that does not listen is no trouble of ours."""
        if not self._address:
            return
        message = "\n".join(line.replace("\n", " ") for line in lines)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(1.0)
                channel.sendto(message.encode("utf-8", "replace"), self._address)
        except OSError:
            pass
