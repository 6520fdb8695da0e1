"""Which notebook was it? Real kernels of a real server, and a daemon that was only told which folder to guard."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.helpers import poll
from tests.history.desk import Desk, Truth, desk

pytestmark = pytest.mark.jupyter
FIRST = "import math\nx = 1"


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Generator[Desk]:
    with desk(tmp_path_factory.mktemp("desk")) as found:
        yield found


@pytest.mark.parametrize("count", [4, pytest.param(50, marks=[pytest.mark.long, pytest.mark.timeout(1200)])])
def test_every_session_seen_alive_is_linked_exactly_and_none_is_linked_wrongly(
    at: Desk, count: int, tmp_path: Path
) -> None:
    """Kernels started together, the same first cell in each, restarts, renames in Lab and by mv, names used again."""
    alive: dict[Truth, str] = {}
    names = [f"{count}-{number} é.ipynb" for number in range(count)]
    kernels = [kernel for start in range(0, count, 5) for kernel in at.open(names[start : start + 5])]
    for kernel in kernels:
        kernel.run(FIRST)
    restarted = kernels[::3]
    ends = {kernel.who(): kernel.path for kernel in restarted}
    for truth, path in ends.items():
        at.until_linked(truth, path, 120.0)
    for kernel in restarted:
        kernel.restart()
    for kernel in restarted:
        kernel.client.wait_for_ready(120)
        kernel.run(FIRST)
    for number, kernel in enumerate(kernels):
        if number % 4 == 1:
            at.rename_in_lab(kernel, f"lab {count}-{number}.ipynb")
        elif number % 4 == 2:
            at.move(kernel, f"moved {count}-{number}.ipynb")
    for number, kernel in enumerate(kernels):
        if number % 6 == 5:
            at.rename_in_lab(kernel, f"again {count}-{number}.ipynb")
            time.sleep(0.5)
            at.move(kernel, f"and again {count}-{number}.ipynb")
        kernel.run("y = x + 1")
    for kernel in kernels:
        alive[kernel.who()] = kernel.path
    wanted = {(truth.pid, truth.session): str(at.root / path) for truth, path in {**ends, **alive}.items()}
    assert len(wanted) == len(kernels) + len(ends)

    def is_done() -> bool:
        return {key: at.exact().get(key) for key in wanted} == wanted

    try:
        poll(is_done, 60.0 + count, every=0.5)
    except AssertionError:
        pass  # counted below
    found = at.exact()
    wrong = {key: (path, wanted[key]) for key, path in found.items() if key in wanted and path != wanted[key]}
    assert not wrong
    assert sum(key in found for key in wanted) >= 0.98 * len(wanted)
    for kernel in kernels:
        at.server.shut(kernel.session)
        kernel.close()
        at.kernels.remove(kernel)


@pytest.mark.parametrize(
    "seconds", [5.0, pytest.param(600.0, marks=[pytest.mark.long, pytest.mark.alone, pytest.mark.timeout(900)])]
)
def test_an_idle_kernel_and_its_server_stay_idle(at: Desk, seconds: float) -> None:
    (kernel,) = at.open([f"idle {seconds}.ipynb"])
    kernel.run(FIRST)
    at.until_linked(kernel.who(), kernel.path)
    kernel.run("y = 2")
    time.sleep(0.5)  # its own last messages arrive
    before = at.activity(kernel)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert at.activity(kernel) == before
        time.sleep(min(2.0, seconds / 4))


def test_a_kernel_at_work_is_not_made_to_look_idle_and_linked_once_it_is_done(at: Desk) -> None:
    """A question would make its server believe it idle, and cull it in the middle of its work."""
    (kernel,) = at.open(["busy.ipynb"])
    kernel.client.execute("import time; time.sleep(4)")
    poll(lambda: at.state(kernel) == "busy")
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        assert at.state(kernel) == "busy"
        time.sleep(0.2)
    poll(lambda: at.state(kernel) == "idle", 20.0)
    at.until_linked(kernel.who(), kernel.path)


@pytest.mark.long
def test_a_kernel_is_not_asked_again_by_the_next_daemon(at: Desk) -> None:
    (kernel,) = at.open(["twice.ipynb"])
    kernel.run(FIRST)
    truth = kernel.who()
    at.until_linked(truth, kernel.path)
    time.sleep(0.5)
    before = at.activity(kernel)
    at.guard.kill()
    at.guard.start()
    time.sleep(4.0)
    assert at.activity(kernel) == before
    at.move(kernel, "thrice.ipynb")
    at.until_linked(truth, "thrice.ipynb")


def test_what_runs_after_the_database_was_deleted_is_kept_from_the_kernels_memory(at: Desk) -> None:
    (kernel,) = at.open(["lost.ipynb"])
    kernel.run("before = 1")
    truth = kernel.who()
    at.until_linked(truth, kernel.path)
    database = at.server.home / ".ipython" / "profile_default" / "history.sqlite"
    assert database.exists()
    os.unlink(database)
    kernel.run("after = 2")
    kernel.run("after + 1")

    def kept() -> list[tuple[int, str, str | None]]:
        from nbguard.app_history import executed_library
        from nbguard.cli.context import Context

        library = executed_library(Context(home=str(at.guard.home), config=None))
        try:
            (generation,) = {link.generation for link in library.links() if link.pid == truth.pid}
            assert generation is not None
            return [(cell.line, cell.source, cell.output) for cell in library.cells(generation, truth.session)]
        finally:
            library.close()

    poll(lambda: {(2, "after = 2", None), (3, "after + 1", "3")} <= set(kept()), 20.0, every=0.5)
    kernel.run("later = 3")
    poll(lambda: (4, "later = 3", None) in kept(), 20.0, every=0.5)
    shutil.rmtree(database.parent, ignore_errors=True)


def test_keys_never_reach_the_disk(at: Desk) -> None:
    (kernel,) = at.open(["key.ipynb"])
    kernel.run(FIRST)
    at.until_linked(kernel.who(), kernel.path)
    key = kernel.client.session.key
    assert len(key) > 20
    ours = [path for path in at.guard.home.rglob("*") if path.is_file()]
    assert len(ours) > 5
    assert not [path for path in ours if key in path.read_bytes()]
