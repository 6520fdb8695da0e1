"""Live kernels: found, told apart, and asked once which session they are in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nbguard.clock import SystemClock
from nbguard.executed import CellOrigin, Confidence, ExecutedCell, Frontend, Link, Record
from nbguard.history.asking import KernelSilent, ask_history, ask_now
from nbguard.history.connection import read_connection
from nbguard.history.kernels import KernelFinder, LiveKernel, live_kernels
from nbguard.history.linking import Linking
from nbguard.history.population import Population
from tests.helpers import poll
from tests.history.rig import IPythonKernel, kernel

WHO = "open({!r}, 'w').write(str(get_ipython().history_manager.session_number))"


def only(home: Path) -> LiveKernel:
    """The one kernel of a home."""
    (found,) = live_kernels(only_home=str(home))
    return found


def truth(running: IPythonKernel, folder: Path) -> int:
    """The session's number, as the kernel itself has it."""
    running.client.execute(WHO.format(str(folder / "who")), silent=True, reply=True, timeout=60)
    return int((folder / "who").read_text())


@pytest.fixture(
    params=[
        pytest.param((), id="installed"),
        pytest.param(
            ("ipython>=8.18,<9", "ipykernel>=6.29,<7", "decorator"), id="ipykernel 6, IPython 8", marks=pytest.mark.long
        ),
        pytest.param(
            ("ipython>=7.34,<8", "ipykernel>=6.29,<7", "backcall", "pickleshare", "decorator"),
            id="ipykernel 6, IPython 7",
            marks=pytest.mark.long,
        ),
    ]
)
def packages(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """An environment with these versions."""
    wanted: tuple[str, ...] = request.param
    if not wanted:
        return {}
    folder = tmp_path / "packages"
    words = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), *wanted]
    subprocess.run(words, check=True, timeout=240, stderr=subprocess.DEVNULL)
    return {"PYTHONPATH": str(folder)}


def test_a_kernel_says_which_session_it_is_in_once_it_has_run_a_cell(
    home: Path, tmp_path: Path, packages: dict[str, str]
) -> None:
    """Also when another kernel has just run the same cell; and while it works, and without its connection file."""
    with kernel(**packages) as one, kernel(**packages) as other:
        for each in (one, other):
            each.run("x = 1")
        other.run("other = 2")
        by_pid = {found.pid: found for found in live_kernels(only_home=str(home))}
        for each in (one, other):
            found = by_pid[each.pid].connection
            assert found is not None
            assert ask_now(found).session == truth(each, tmp_path)
        assert [path.name for path in home.rglob("*.sqlite")] == ["history.sqlite"]  # none was called corrupt
        with kernel(**packages) as new:
            (young,) = [found for found in live_kernels(only_home=str(home)) if found.pid == new.pid]
            assert young.connection is not None
            assert ask_now(young.connection).session is None  # the trap: it would answer with somebody else's row
        one.run("'kept'")
        one.client.execute("import time; time.sleep(3)")
        os.unlink(one.manager.connection_file)
        cells = ask_history(by_pid[one.pid], generation="g", session=1, seen_at=datetime.now(UTC))
        assert [(cell.line, cell.source, cell.output) for cell in cells[:2]] == [
            (1, "x = 1", None),
            (2, "'kept'", "'kept'"),
        ]
        assert {cell.origin for cell in cells} == {CellOrigin.KERNEL}
        assert one.client.get_shell_msg(timeout=30)


def test_a_kernel_whose_database_is_gone_tells_its_cells_and_touches_no_database(home: Path) -> None:
    """One that another kernel has made since would be moved away as corrupt."""
    database = home / ".ipython/profile_default/history.sqlite"
    with kernel() as running:
        running.run("x = 1")
        database.unlink()
        running.run("after = 2")
        with kernel() as other:
            other.run("other = 1")
            (found,) = [one for one in live_kernels(only_home=str(home)) if one.pid == running.pid]
            assert found.has_lost_database
            assert found.connection is not None
            assert ask_now(found.connection, has_database=False).last.source == "after = 2"
            cells = ask_history(found, generation="g", session=1, seen_at=datetime.now(UTC))
            assert [cell.source for cell in cells] == ["x = 1", "after = 2"]
        assert [path.name for path in database.parent.glob("*.sqlite")] == ["history.sqlite"]


def test_kernels_on_sockets_in_the_file_system_are_reached(home: Path, tmp_path: Path) -> None:
    running = IPythonKernel()
    running.manager.transport = "ipc"
    running.manager.ip = str(tmp_path / "s")
    try:
        running.start()
        running.run("x = 1")
        found = only(home).connection
        assert found is not None
        assert found.transport == "ipc"
        assert ask_now(found).session == truth(running, tmp_path)
    finally:
        running.end()


def test_kernels_that_encrypt_are_reached(home: Path, tmp_path: Path) -> None:
    """CurveZMQ, where jupyter_client offers it."""
    import zmq

    running = IPythonKernel()
    if not hasattr(running.manager, "curve_publickey"):
        running.end()
        return
    public, secret = zmq.curve_keypair()
    running.manager.curve_publickey, running.manager.curve_secretkey = public, secret
    try:
        running.start()
        running.run("x = 1")
        found = only(home).connection
        assert found is not None
        assert found.curve_public == public
        assert ask_now(found).session == truth(running, tmp_path)
        with pytest.raises(KernelSilent):
            ask_now(replace(found, curve_public=b"", curve_secret=b""), timeout_seconds=0.5)
    finally:
        running.end()


def test_an_answer_that_the_key_did_not_sign_is_none(home: Path) -> None:
    with kernel() as running:
        running.run("x = 1")
        found = only(home).connection
        assert found is not None
        with pytest.raises(KernelSilent, match="did not answer"):
            ask_now(replace(found, key=b"another key"), timeout_seconds=0.5)
        with pytest.raises(KernelSilent, match="signs with"):
            ask_now(replace(found, scheme="hmac-none"))


def test_nobody_there_is_no_answer_in_time(home: Path) -> None:
    with kernel() as running:
        found = only(home).connection
        assert found is not None
        running.end()
    with pytest.raises(KernelSilent) as error:
        ask_now(found, timeout_seconds=0.3)
    assert found.key.decode() not in f"{error.value.message} {error.value.hint} {found!r}"


def test_a_kernel_that_stands_still_holds_up_nobody(home: Path) -> None:
    import signal

    with kernel() as running:
        running.run("x = 1")
        found = only(home).connection
        assert found is not None
        os.kill(running.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(KernelSilent):
                ask_now(found, timeout_seconds=0.5)
            assert time.monotonic() - began < 3.0
        finally:
            os.kill(running.pid, signal.SIGCONT)


def test_another_home_is_left_alone(home: Path, tmp_path: Path) -> None:
    with kernel(HOME=str(tmp_path)) as running:
        assert live_kernels(only_home=str(home)) == []
        assert [found.pid for found in live_kernels(only_home=str(tmp_path))] == [running.pid]
        assert running.pid in [found.pid for found in live_kernels()]


def test_a_process_that_a_kernel_forked_is_not_taken_for_it(home: Path) -> None:
    with kernel() as running:
        running.run("import os, time\nchild = os.fork()\nif not child:\n    time.sleep(60)\n    os._exit(0)")
        running.run(f"open({str(home / 'child')!r}, 'w').write(str(child))")
        child = int((home / "child").read_text())
        os.kill(child, 0)
        assert only(home).pid == running.pid
        running.run("os.kill(child, 9); os.waitpid(child, 0)")


@contextmanager
def process(*words: str, **environment: str) -> Generator[subprocess.Popen[bytes]]:
    """Any process, ended afterwards; it gets a terminal's input that never comes."""
    started = subprocess.Popen(
        words,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield started
    finally:
        started.kill()
        started.wait()
        assert started.stdin is not None
        started.stdin.close()


def one_with_database(home: Path) -> LiveKernel | None:
    return next((found for found in live_kernels(only_home=str(home)) if found.databases), None)


LAUNCH = ("-m", "ipykernel_launcher", "-f", "{runtime}/kernel-1.json")
VSCODE = "kernel-v3" + "0123456789abcdef" * 2 + "01234567.json"


@pytest.mark.parametrize(
    ("words", "environment", "frontend", "is_notebook"),
    [
        (LAUNCH, {"JPY_SESSION_NAME": "{home}/ü b.ipynb"}, Frontend.NOTEBOOK, True),
        (LAUNCH, {"JPY_SESSION_NAME": "{home}/Console 1"}, Frontend.CONSOLE, False),
        (("-m", "ipykernel_launcher", "--f={runtime}/" + VSCODE), {}, Frontend.VSCODE, False),
        (("-m", "ipykernel"), {}, Frontend.OTHER, False),
        (("-m", "IPython", "--no-banner"), {}, Frontend.TERMINAL, False),
    ],
    ids=["notebook", "console", "VS Code", "by hand", "terminal"],
)  # fmt: skip
def test_what_a_kernel_was_started_for_is_told(
    home: Path, words: Sequence[str], environment: dict[str, str], frontend: Frontend, is_notebook: bool
) -> None:
    runtime = home / ".local/share/jupyter/runtime"
    runtime.mkdir(parents=True)
    known = {"runtime": str(runtime), "home": str(home)}
    filled = {name: value.format(**known) for name, value in environment.items()}
    with process(sys.executable, *(word.format(**known) for word in words), **filled) as started:
        found = poll(lambda: one_with_database(home), 30.0, every=0.2)
        assert found is not None
        assert (found.pid, found.frontend) == (started.pid, frontend)
        assert found.path == (str(home / "ü b.ipynb") if is_notebook else None)
        assert (found.connection is None) == (frontend is Frontend.TERMINAL)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("{"),
        lambda path: path.write_text("[]"),
        lambda path: path.write_text("[" * 100_000),
        lambda path: path.write_text(json.dumps({"transport": "tcp", "ip": "127.0.0.1"})),
        lambda path: path.write_text('{"transport": "inproc", "ip": "x", "control_port": 1, "iopub_port": 2}'),
        os.mkfifo,
        lambda path: path.mkdir(),
        lambda path: path.symlink_to("/etc/passwd"),
        lambda path: (path.write_text("{}"), path.chmod(0o666)),
    ],
    ids=["half", "list", "deep", "no ports", "transport", "fifo", "folder", "symlink", "open to all"],
)
def test_a_connection_file_that_makes_no_sense_is_none(tmp_path: Path, write: Callable[[Path], object]) -> None:
    path = tmp_path / "kernel-1.json"
    write(path)
    assert read_connection(str(path)) is None


class Log:
    """A record log in memory."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def append(self, records: Sequence[Record]) -> None:
        self.records += records

    @property
    def links(self) -> list[Link]:
        return [record for record in self.records if isinstance(record, Link)]


def linking(home: Path, log: Log) -> Linking:
    finder = KernelFinder(only_home=str(home), runtimes=[str(home / ".local/share/jupyter/runtime")])
    return Linking(
        population=Population(finder, SystemClock()),
        log=log,
        clock=SystemClock(),
        generation_of=lambda device, inode, session: f"{device}-{inode}",
        chain=lambda path, at: (),
        known_links=lambda: log.links,
    )


def test_a_new_kernel_is_seen_within_two_seconds_and_a_terminal_is_asked_nothing(home: Path) -> None:
    runtime = home / ".local/share/jupyter/runtime"
    runtime.mkdir(parents=True)
    worker = linking(home, Log())
    worker.step()
    file = runtime / "kernel-new.json"
    with process(sys.executable, "-m", "ipykernel_launcher", "-f", str(file)) as started:
        poll(file.exists, 30.0)
        began = time.monotonic()

        def seen() -> bool:
            worker.step()
            return [one.pid for one in worker.kernels()] == [started.pid]

        poll(seen, 5.0, every=0.5)
        assert time.monotonic() - began < 2.0

    def gone() -> bool:
        worker.step()
        return not worker.kernels()

    poll(gone, 5.0, every=0.2)


def test_a_kernel_of_another_language_is_linked_by_its_path_and_never_asked(home: Path) -> None:
    """A process that is called as Julia's kernel is, with a control channel that nobody listens to."""
    file = home / "kernel-julia.json"
    ports = dict.fromkeys(("control_port", "iopub_port", "shell_port", "stdin_port", "hb_port"), 9)
    file.write_text(json.dumps({"transport": "tcp", "ip": "127.0.0.1", "key": "k", **ports}))
    file.chmod(0o600)
    notebook = home / "fit.ipynb"
    notebook.write_text("{}")
    script = home / "IJulia.py"
    script.write_text("import sys; sys.stdin.read()")
    log = Log()
    with process(sys.executable, str(script), str(file), JPY_SESSION_NAME=str(notebook)) as started:
        worker = linking(home, log)

        def links() -> list[Link]:
            worker.step()
            return log.links

        (link,) = poll(links, 10.0, every=0.2)
        assert (link.pid, link.session, link.generation) == (started.pid, None, None)
        assert (link.path, link.confidence, link.evidence) == (str(notebook), Confidence.EXACT, ("environment",))


def test_a_kernel_that_keeps_its_history_in_memory_is_kept_from_memory(home: Path) -> None:
    """Its database could not be opened, as on a network drive that is locked."""
    log = Log()
    folder = home / ".ipython" / "profile_default"
    folder.mkdir(parents=True)
    (folder / "ipython_config.py").write_text("c.HistoryManager.hist_file = ':memory:'\n")
    with kernel() as running:
        running.run("x = 1")
        worker = linking(home, log)

        def sources() -> list[str]:
            worker.step()
            return [record.source for record in log.records if isinstance(record, ExecutedCell)]

        poll(lambda: sources() == ["x = 1"], 15.0, every=0.3)
        running.run("y = 2")
        poll(lambda: sources() == ["x = 1", "y = 2"], 15.0, every=0.3)
        assert log.links[0].session == 1


@pytest.mark.long
def test_kernels_that_keep_nothing_on_purpose_are_left_alone(home: Path) -> None:
    with kernel("--HistoryManager.hist_file=:memory:") as running:
        running.run("x = 1")
        assert only(home).keeps_nothing
        log = Log()
        worker = linking(home, log)
        until = time.monotonic() + 3.0
        while time.monotonic() < until:
            worker.step()
            time.sleep(0.3)
        assert log.records == []
