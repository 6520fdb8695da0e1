"""Which Jupyter servers have a notebook open: asked on this machine only, and believed only so far."""

from __future__ import annotations

import json
import os
import socketserver
import threading
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nbguard import jupyter_servers
from nbguard.jupyter_servers import runtime_folder
from nbguard.recover.servers import servers_with

TOKEN = "s3cret"


@dataclass
class Fake:
    """A server that answers /api/sessions, and what it was asked."""

    port: int
    sessions: list[dict[str, object]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    redirect: str = ""
    delay_seconds: float = 0.0


@pytest.fixture
def fake() -> Generator[Fake]:
    answers = Fake(0)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers.asked.append((self.path, self.headers.get("Authorization", "")))
            time.sleep(answers.delay_seconds)
            body = json.dumps(answers.sessions).encode()
            allowed = self.headers.get("Authorization") == f"token {TOKEN}"
            self.send_response(302 if answers.redirect else 200 if allowed else 403)
            if answers.redirect:
                self.send_header("Location", answers.redirect)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(BrokenPipeError):  # whoever asked may have given up
                self.wfile.write(body)

        def log_request(self, code: object = "-", size: object = "-") -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    answers.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield answers
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    folder = tmp_path / "runtime"
    folder.mkdir()
    return folder


def announce(runtime: Path, root: Path, port: int, name: str = "jpserver-1.json", **changes: object) -> Path:
    """What a server writes about itself."""
    info = {
        "url": f"http://127.0.0.1:{port}/lab/",
        "token": TOKEN,
        "root_dir": str(root),
        "pid": os.getpid(),
        "sock": "",
        "hostname": "127.0.0.1",
        **changes,
    }
    path = runtime / name
    path.write_text(json.dumps(info))
    path.chmod(0o600)
    return path


def test_an_open_notebook_is_found_by_its_real_path(fake: Fake, runtime: Path, tmp_path: Path) -> None:
    announce(runtime, tmp_path, fake.port)
    fake.sessions = [{"path": "sub/eda.ipynb", "type": "notebook"}, {"notebook": {"path": "old.ipynb"}}]
    assert servers_with(str(tmp_path / "sub/eda.ipynb"), str(runtime)) == [f"http://127.0.0.1:{fake.port}/lab/"]
    assert servers_with(str(tmp_path / "old.ipynb"), str(runtime))
    assert servers_with(str(tmp_path / "eda.ipynb"), str(runtime)) == []
    assert fake.asked[0] == ("/lab/api/sessions?no_track_activity=1", f"token {TOKEN}")


def test_servers_with_another_root_are_not_asked(fake: Fake, runtime: Path, tmp_path: Path) -> None:
    announce(runtime, tmp_path / "elsewhere", fake.port)
    assert servers_with(str(tmp_path / "eda.ipynb"), str(runtime)) == []
    assert fake.asked == []


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "http://192.0.2.1:{port}/"},
        {"url": "http://example.com:{port}/"},
        {"url": "http://127.0.0.1.example.com:{port}/"},
        {"url": "ftp://127.0.0.1:x/"},
        {"url": ""},
        {"pid": 0},
        {"pid": "1"},
        {"pid": 2**40},
        {"root_dir": 7},
        {"root_dir": "relative"},
    ],
    ids=range(10),
)
def test_what_is_not_of_this_machine_or_makes_no_sense_is_not_asked(
    fake: Fake, runtime: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    info = announce(runtime, tmp_path, fake.port)
    there = {key: value.format(port=fake.port) if isinstance(value, str) else value for key, value in changes.items()}
    info.write_text(json.dumps({**json.loads(info.read_text()), **there}))
    assert servers_with(str(tmp_path / "eda.ipynb"), str(runtime)) == []
    assert fake.asked == []


def test_a_file_that_others_can_write_is_not_believed(fake: Fake, runtime: Path, tmp_path: Path) -> None:
    announce(runtime, tmp_path, fake.port).chmod(0o622)
    (runtime / "jpserver-2.json").symlink_to(announce(runtime, tmp_path, fake.port, "real.json"))
    (runtime / "jpserver-3.json").write_bytes(b"[" * 100_000)
    os.mkfifo(runtime / "jpserver-4.json")
    assert servers_with(str(tmp_path / "eda.ipynb"), str(runtime)) == []
    assert fake.asked == []


def test_a_redirect_is_not_followed_and_no_proxy_is_used(
    fake: Fake, runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce(runtime, tmp_path, fake.port)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    fake.redirect = f"http://127.0.0.1:{fake.port}/elsewhere"
    assert servers_with(str(tmp_path / "eda.ipynb"), str(runtime)) == []
    assert len(fake.asked) == 1


def test_a_server_that_does_not_answer_costs_a_moment(
    fake: Fake, runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jupyter_servers, "TIMEOUT_SECONDS", 0.05)
    fake.delay_seconds = 0.5
    announce(runtime, tmp_path, fake.port)
    announce(runtime, tmp_path, 1, "jpserver-2.json")
    assert servers_with(str(tmp_path / "eda.ipynb"), str(runtime)) == []
    assert fake.asked


@pytest.mark.parametrize("answer", [None, 7, "x", [None, 7, {"path": 7}, {"path": "a\0b"}, {"notebook": []}]])
def test_a_strange_answer_is_no_answer(fake: Fake, runtime: Path, tmp_path: Path, answer: list[object]) -> None:
    announce(runtime, tmp_path, fake.port)
    fake.sessions = answer  # type: ignore[assignment]
    assert servers_with(str(tmp_path / "eda.ipynb"), str(runtime)) == []
    assert fake.asked


def test_a_server_on_every_address_is_asked_over_the_loopback(fake: Fake, runtime: Path, tmp_path: Path) -> None:
    url = f"http://some-host.example:{fake.port}/"
    announce(runtime, tmp_path, fake.port, url=url, hostname="0.0.0.0")
    fake.sessions = [{"path": "eda.ipynb"}]
    assert servers_with(str(tmp_path / "eda.ipynb"), str(runtime)) == [url]


def test_a_server_on_a_unix_socket(runtime: Path, tmp_path: Path) -> None:
    asked = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked.append(self.rfile.readline())
            body = b'[{"path": "eda.ipynb"}]'
            self.wfile.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)
            )

    sock = str(tmp_path / "s")
    with socketserver.UnixStreamServer(sock, Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        announce(runtime, tmp_path, 0, url="http+unix://x/base/", sock=sock)
        assert servers_with(str(tmp_path / "eda.ipynb"), str(runtime)) == ["http+unix://x/base/"]
        thread.join()
    assert asked == [b"GET /base/api/sessions?no_track_activity=1 HTTP/1.1\r\n"]


def test_no_runtime_folder_is_no_server(tmp_path: Path) -> None:
    assert servers_with(str(tmp_path / "eda.ipynb"), str(tmp_path / "none")) == []


@pytest.mark.parametrize(
    ("environment", "platform", "folder"),
    [
        ({"JUPYTER_RUNTIME_DIR": "/r", "JUPYTER_DATA_DIR": "/d"}, "linux", "/r"),
        ({"JUPYTER_DATA_DIR": "/d"}, "linux", "/d/runtime"),
        ({"XDG_DATA_HOME": "/x"}, "linux", "/x/jupyter/runtime"),
        ({}, "linux", "/home/ada/.local/share/jupyter/runtime"),
        ({}, "darwin", "/home/ada/Library/Jupyter/runtime"),
    ],
)
def test_where_servers_write(environment: dict[str, str], platform: str, folder: str) -> None:
    assert runtime_folder(environment, "/home/ada", platform) == folder
