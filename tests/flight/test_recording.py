"""A real kernel is heard: what it publishes is recorded as a notebook would hold it, and it never notices."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from jupyter_client.blocking.client import BlockingKernelClient

from nbguard.flight.caps import Caps
from nbguard.flight.kernels import KernelToRecord
from nbguard.flight.runs import KERNEL_ENDED, KERNEL_RESTARTED
from tests.flight.rig import Kernel, Recording, kernel, recording, resident_bytes
from tests.helpers import poll

PICTURE = (
    "import base64; from IPython.display import Image, display, HTML\n"
    "png = base64.b64decode('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awA'"
    "'AAABJRU5ErkJggg==')\n"
)


@pytest.fixture(scope="module", params=["installed", pytest.param("ipykernel 6", marks=pytest.mark.long)])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel of the ipykernel that is installed, and one of the version before."""
    environment = {}
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "ipykernel 6":
            folder = tmp_path_factory.mktemp("ipykernel-6")
            words = ["-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), "ipykernel>=6.29,<7"]
            subprocess.run([sys.executable, *words], check=True, timeout=120)
            environment = {"PYTHONPATH": str(folder)}
        home = tmp_path_factory.mktemp("kernel-home")
        patch.setenv("HOME", str(home))
        patch.setenv("IPYTHONDIR", str(home / ".ipython"))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(home / "runtime"))
        with kernel(environment=environment) as started:
            asked = started.run("", silent=True, user_expressions={"v": "__import__('ipykernel').__version__"})
            version = asked["user_expressions"]["v"]["data"]["text/plain"]
            assert version.startswith("'6.") == (request.param == "ipykernel 6")
            yield started


@pytest.fixture
def heard(running: Kernel) -> Iterator[Recording]:
    with recording(running.to_record()) as made:
        made.joined(running)
        yield made


def test_code_text_images_html_and_errors_are_recorded(running: Kernel, heard: Recording) -> None:
    code = (
        PICTURE
        + "import sys; print('out'); print('err', file=sys.stderr)\n"
        + "display(Image(png)); display(HTML('<b>x</b>'))\n6 * 7"
    )
    running.run(code)
    run = heard.run_of(code)
    assert (run.status, run.path, run.note) == ("ok", "/desk/nb.ipynb", "")
    assert run.ended_at is not None
    assert run.started_at < run.ended_at
    out, err, image, page, result = heard.kept.outputs(run)
    assert (out["name"], out["text"], err["name"], err["text"]) == ("stdout", "out\n", "stderr", "err\n")
    assert image["data"]["image/png"].startswith("iVBOR")
    assert page["data"]["text/html"] == "<b>x</b>"
    assert (result["data"]["text/plain"], result["execution_count"]) == ("42", run.execution_count)
    running.run("1 / 0")
    failed = heard.run_of("1 / 0")
    (error,) = heard.kept.outputs(failed)
    assert (failed.status, error["ename"]) == ("error", "ZeroDivisionError")
    assert any("1 / 0" in line or "Zero" in line for line in error["traceback"])


def test_updates_and_clearing_are_followed(running: Kernel, heard: Recording) -> None:
    code = (
        "from IPython.display import display, clear_output\nprint('gone'); clear_output(wait=True); print('stays')\n"
        "shown = display('before', display_id=True); shown.update('after')"
    )
    running.run(code)
    text, shown = heard.kept.outputs(heard.run_of(code))
    assert text["text"] == "stays\n"
    assert shown["data"]["text/plain"] == "'after'"


def test_what_another_client_runs_is_recorded_as_well(running: Kernel, heard: Recording) -> None:
    other: Any = BlockingKernelClient()
    other.load_connection_info(running.manager.get_connection_info())  # and with a session of its own
    other.start_channels()
    other.execute("print('from elsewhere')")
    run = heard.run_of("print('from elsewhere')")
    assert heard.kept.outputs(run)[0]["text"] == "from elsewhere\n"
    other.stop_channels()


def test_the_kernel_executes_nothing_for_us_and_remembers_nothing_of_us(running: Kernel) -> None:
    def count() -> tuple[int, int]:
        reply = running.run("", silent=True)
        history = running.client.history(hist_access_type="range", session=0, raw=True, reply=True, timeout=30)
        return int(reply["execution_count"]), len(history["content"]["history"])

    counted, remembered = count()
    with recording(running.to_record()) as made:
        asked = made.joined(running)
    assert count() == (counted + asked, remembered + asked)


def test_nobody_else_hears_that_we_listen(running: Kernel) -> None:
    """ipykernel 7 greets the first subscriber of all; a server would take a greeting for activity."""
    while running.client.iopub_channel.msg_ready():
        running.client.get_iopub_msg(timeout=1)
    with recording(running.to_record()) as made:
        made.joined(running)
    kinds = set()
    while running.client.iopub_channel.msg_ready():
        kinds.add(running.client.get_iopub_msg(timeout=1)["header"]["msg_type"])
    assert kinds == {"status", "execute_input", "execute_result"}


def test_the_receiver_holds_no_secret_in_its_arguments_and_no_file_of_the_users(
    running: Kernel, heard: Recording
) -> None:
    pid = heard.recorder.receiver_pid
    key = running.to_record().key
    assert key
    for name in ("cmdline", "environ"):
        assert key not in Path(f"/proc/{pid}/{name}").read_bytes()
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    held = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
    assert not [path for path in held if path.startswith("/") and not path.startswith(("/dev/null", "/proc"))]


def test_a_wrong_key_records_nothing_and_says_so(running: Kernel) -> None:
    right = running.to_record()
    wrong = KernelToRecord(
        kernel="k", path="/desk/nb.ipynb", transport=right.transport, ip=right.ip, iopub_port=right.iopub_port, key=b"x"
    )
    with recording(wrong) as made:

        def told() -> bool:
            running.run("'unheard'")
            made.recorder.step(0.2)
            return any(problem.code == "recorder-dropped" for problem in made.recorder.problems())

        poll(told, 20)
        assert not made.kept.runs


def test_a_hundred_megabyte_image_is_named_and_not_kept(running: Kernel) -> None:
    with recording(running.to_record(), caps=Caps(output_bytes=1_000_000)) as made:
        made.joined(running)
        code = (
            "from IPython.display import publish_display_data as publish\n"
            "publish({'image/png': 'A' * 100_000_000, 'text/plain': 'x'})"
        )
        running.run(code)
        run = made.run_of(code)
        (output,) = made.kept.outputs(run)
        assert "bytes was not recorded" in output["data"]["text/plain"]
        assert "was left out" in run.note
        assert run.output_bytes < 1000
        running.run("print('still there')")
        assert made.kept.outputs(made.run_of("print('still there')"))[0]["text"] == "still there\n"


def test_too_much_text_leaves_head_and_tail(running: Kernel) -> None:
    with recording(running.to_record(), caps=Caps(output_bytes=100_000)) as made:
        made.joined(running)
        code = "for number in range(300_000): print(number, flush=number % 1000 == 0)"
        running.run(code)
        run = made.run_of(code)
        (stream,) = made.kept.outputs(run)
        assert stream["text"].startswith("0\n1\n2\n")
        assert stream["text"].endswith("299999\n")
        assert "text was left out" in run.note
        assert run.output_bytes < 200_000


def test_a_kernel_that_restarts_and_one_that_dies_leave_unfinished_runs() -> None:
    with kernel() as started, recording(started.to_record()) as made:
        made.joined(started)
        long = "print('begun', flush=True); import time; time.sleep(100)"
        started.client.execute(long)
        _until_it_prints(started, "begun")
        made.until(lambda: (run := made.kept.named(long)) is not None and made.kept.outputs(run))  # heard by us as well
        started.manager.restart_kernel(now=True)
        started.client.wait_for_ready(timeout=60)
        started.run("'after the restart'")
        first = made.run_of(long)
        assert first.status == "unfinished"
        assert first.note.endswith(KERNEL_RESTARTED)
        assert made.kept.outputs(first)[0]["text"] == "begun\n"
        made.run_of("'after the restart'")
        fatal = "import os, signal, time; time.sleep(0.5); os.kill(os.getpid(), signal.SIGKILL)"
        started.client.execute(fatal)
        poll(lambda: not started.manager.is_alive(), 30)
        made.recorder.step(0.5)
        made.kernels.clear()
        died = made.run_of(fatal)
        assert (died.status, died.note) == ("unfinished", KERNEL_ENDED)


def _until_it_prints(some: Kernel, text: str) -> None:
    while text not in some.client.get_iopub_msg(timeout=30)["content"].get("text", ""):
        pass


@pytest.mark.parametrize(
    ("transport", "encryption"),
    [("ipc", "disabled"), ("tcp", "required"), pytest.param("ipc", "required", marks=pytest.mark.long)],
)
def test_ipc_and_curve_are_heard(transport: str, encryption: str) -> None:
    assert zmq.has("curve")
    with kernel(transport=transport, encryption=encryption) as started:
        told = started.to_record()
        assert told.transport == transport
        assert bool(told.curve_secret) == (encryption == "required")
        with recording(told) as made:
            made.joined(started)


def test_the_receiver_ends_with_the_process_that_started_it() -> None:
    script = (
        "import sys, time\nfrom nbguard.clock import SystemClock\nfrom nbguard.flight.process import ReceiverProcess\n"
        "receiver = ReceiverProcess(SystemClock())\nwhile not receiver.listen(1.0, 0): pass\n"
        "print(receiver.pid, flush=True)\ntime.sleep(100)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdin is not None
    pid = int(parent.stdout.readline())
    os.kill(pid, signal.SIGSTOP)  # so that it cannot see its pipe end
    poll(lambda: _state(pid) == "T")
    parent.kill()
    parent.wait()
    parent.stdout.close()
    parent.stdin.close()
    poll(lambda: _state(pid) in ("", "Z"))


def test_a_stopped_receiver_is_ended_and_another_goes_on(running: Kernel) -> None:
    _stop_it_while_the_kernel_prints(running, lines=60, line_bytes=1_000_000, bound_bytes=250_000_000)


@pytest.mark.long
def test_a_stopped_receiver_costs_a_kernel_that_prints_500_mb_little_memory() -> None:
    with kernel() as started:
        _stop_it_while_the_kernel_prints(started, lines=5_000_000, line_bytes=100, bound_bytes=400_000_000)


def _stop_it_while_the_kernel_prints(running: Kernel, *, lines: int, line_bytes: int, bound_bytes: int) -> None:
    with recording(running.to_record()) as made:
        made.joined(running)
        first = made.recorder.receiver_pid
        assert first is not None
        before = peak = resident_bytes(running.pid)
        os.kill(first, signal.SIGSTOP)
        poll(lambda: _state(first) == "T")
        code = f"line = 'x' * {line_bytes - 1}\nfor _ in range({lines}): print(line)"
        asked = running.client.execute(code)

        def goes_on() -> bool:
            nonlocal peak
            made.recorder.step(0.05)
            peak = max(peak, resident_bytes(running.pid))
            return made.recorder.restarts == 0

        poll(lambda: not goes_on(), 60, every=0.0)  # the fault fired, and was found
        assert _state(first) in ("", "Z")
        assert peak - before < bound_bytes
        _until_idle(running, asked)
        made.until(lambda: made.recorder.receiver_pid not in (None, first), 30)
        made.joined(running)
        assert any(problem.code == "recorder-dropped" for problem in made.recorder.problems())


def _until_idle(running: Kernel, asked: str) -> None:
    while True:
        message = running.client.get_iopub_msg(timeout=120)
        content, parent = message["content"], message["parent_header"]
        if parent.get("msg_id") == asked and content.get("execution_state") == "idle":
            return


def _state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
