"""A real JupyterLab server on 127.0.0.1, with a token and a home of its own, driven over its REST API."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.helpers import poll

TOKEN = "a-token-of-this-test"
SLOW_SECONDS = 120.0


class JupyterServer:
    """One server; ``root`` is the folder it serves."""

    def __init__(self, home: Path, root: Path) -> None:
        self.home = home
        self.root = root
        self.python = sys.executable
        self.process: subprocess.Popen[bytes] | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """As it says of itself."""
        return str(self._info()["url"])

    def environment(self) -> dict[str, str]:
        """A home of its own, and nothing of Jupyter's or nbguard's from outside."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "JUPYTER", "NBGUARD_", "GIT_"))}
        return {
            **kept,
            "HOME": str(self.home),
            "JUPYTER_CONFIG_DIR": str(self.home / ".jupyter"),
            "JUPYTER_DATA_DIR": str(self.home / ".local/share/jupyter"),
            "JUPYTER_RUNTIME_DIR": str(self.runtime),
            "IPYTHONDIR": str(self.home / ".ipython"),
        }

    @property
    def runtime(self) -> Path:
        return self.home / "runtime"

    def start(self) -> None:
        """Start it on a port that the system chooses, and wait until it answers."""
        shutil.rmtree(self.runtime, ignore_errors=True)
        for folder in (self.home, self.root, self.runtime):
            folder.mkdir(parents=True, exist_ok=True)
        with open(self.home / "server.log", "ab") as said:
            self.process = subprocess.Popen(
                [
                    *(self.python, "-m", "jupyterlab", "--no-browser", "--allow-root"),
                    *("--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", f"--IdentityProvider.token={TOKEN}"),
                    f"--ServerApp.root_dir={self.root}",
                    "--ServerApp.log_level=WARN",
                    "--LabApp.news_url=None",
                    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
                ],
                env=self.environment(),
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        info = poll(self._info, SLOW_SECONDS, every=0.1)
        self._url = f"http://127.0.0.1:{info['port']}"
        poll(self._answers, SLOW_SECONDS, every=0.1)

    def _info(self) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.poll() is None, (self.home / "server.log").read_text(errors="replace")[-2000:]
        try:
            found = json.loads((self.runtime / f"jpserver-{self.process.pid}.json").read_bytes())
        except (OSError, ValueError):
            return {}
        assert isinstance(found, dict)
        return found

    def _answers(self) -> bool:
        try:
            return "version" in self.ask("GET", "/api")
        except urllib.error.URLError:
            return False

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """One request; its JSON answer. Raises urllib.error.HTTPError for a refusal."""
        request = urllib.request.Request(
            self._url + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"token {TOKEN}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=SLOW_SECONDS) as answer:
            raw = answer.read()
        return json.loads(raw) if raw else None

    # -- what JupyterLab does --------------------------------------------------------------------------------------

    def autosave(self, name: str, notebook: object) -> bytes:
        """PUT, as every two minutes; the bytes that are on disk then."""
        self.ask("PUT", _contents(name), {"type": "notebook", "format": "json", "content": notebook})
        return (self.root / name).read_bytes()

    def save(self, name: str, notebook: object) -> bytes:
        """PUT and a checkpoint, as with Ctrl-S; the bytes that are on disk then."""
        data = self.autosave(name, notebook)
        self.ask("POST", _contents(name) + "/checkpoints")
        return data

    def rename(self, name: str, new: str) -> None:
        """Rename, or move to another folder."""
        self.ask("PATCH", _contents(name), {"path": new})

    def delete(self, name: str) -> None:
        self.ask("DELETE", _contents(name))

    def make_folder(self, name: str) -> None:
        self.ask("PUT", _contents(name), {"type": "directory"})

    def revert(self, name: str) -> bytes:
        """Revert to the checkpoint; the bytes that are on disk then."""
        (checkpoint,) = self.ask("GET", _contents(name) + "/checkpoints")
        self.ask("POST", f"{_contents(name)}/checkpoints/{checkpoint['id']}")
        return (self.root / name).read_bytes()

    def open(self, name: str) -> str:
        """A session with a kernel, as an open tab has; its id."""
        session = self.ask(
            "POST", "/api/sessions", {"path": name, "name": "", "type": "notebook", "kernel": {"name": "python3"}}
        )
        return str(session["id"])

    def shut(self, session: str) -> None:
        """End a session and its kernel."""
        self.ask("DELETE", f"/api/sessions/{session}")

    def kill(self) -> None:
        """kill -9, whatever it is doing."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)

    def close(self) -> None:
        """End it politely, its kernels too."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()


@contextmanager
def jupyter_server(home: Path, root: Path) -> Generator[JupyterServer]:
    """A running server until the block ends."""
    server = JupyterServer(home, root)
    try:
        server.start()
        yield server
    finally:
        server.close()


def notebook(*sources: str, outputs: int = 0) -> dict[str, Any]:
    """A notebook as JupyterLab sends it; ``outputs`` adds an image of so many random-looking base64 characters."""
    cells: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "execution_count": number,
            "id": f"cell-{number}",
            "metadata": {},
            "outputs": [],
            "source": source,
        }
        for number, source in enumerate(sources, 1)
    ]
    if outputs:
        image = {"image/png": _base64(outputs), "text/plain": ["<Figure>"]}
        cells[0]["outputs"] = [{"output_type": "display_data", "data": image, "metadata": {}}]
    language = {"name": "python", "version": "3.11.7"}
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    return {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": language},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _base64(characters: int) -> str:
    """Cheap to make, and hardly to be compressed."""
    import base64
    import random

    return base64.b64encode(random.Random(characters).randbytes(characters * 3 // 4)).decode("ascii")


def _contents(name: str) -> str:
    return "/api/contents/" + quote(name)
