"""Which running Jupyter servers of ours have a notebook open."""

from __future__ import annotations

import os

from nbguard.jupyter_servers import running_servers, sessions_of

_MOST_SERVERS = 16


def servers_with(path: str, runtime: str) -> list[str]:
    """URLs (without tokens) of the running servers that have ``path`` open. Never raises for a server's faults."""
    wanted = os.path.realpath(path)
    found = []
    for server in running_servers(runtime)[:_MOST_SERVERS]:
        root = os.path.realpath(server.root)
        if wanted.startswith(root.rstrip("/") + "/"):
            opened = {os.path.realpath(session.path) for session in sessions_of(server) or ()}
            if wanted in opened:
                found.append(server.url)
    return found
