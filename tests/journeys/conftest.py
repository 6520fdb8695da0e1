"""One Jupyter server and one daemon for all that need them: both cost seconds to start."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.journeys.guarded import Guarded, guarding
from tests.journeys.jupyter_server import JupyterServer, jupyter_server


@dataclass
class Lab:
    """A daemon that watches the folder a real JupyterLab server serves."""

    guard: Guarded
    server: JupyterServer
    root: Path


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Generator[Lab]:
    base = tmp_path_factory.mktemp("lab")
    root = base / "work"
    with (
        jupyter_server(base / "home", root) as server,
        guarding(base, root, environment={"JUPYTER_RUNTIME_DIR": str(server.runtime)}) as guard,
    ):
        yield Lab(guard, server, root)
