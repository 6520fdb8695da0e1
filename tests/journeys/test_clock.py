"""The wall clock is set back and forward under the daemon: versions stay in the order in which they were seen."""

from __future__ import annotations

import glob
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY, notebook_bytes, poll
from tests.journeys.guarded import guarding, sha256

_LIBRARIES = glob.glob("/usr/lib/*/faketime/libfaketime.so.1") + glob.glob("/usr/lib*/faketime/libfaketime.so.1")

pytestmark = pytest.mark.skipif(not _LIBRARIES, reason="needs libfaketime (Debian package faketime)")


class WallClock:
    """The wall clock of processes that have this environment; their other clocks go on as they are."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "offset"
        self.set("+0s")
        # Under libfaketime 0.9.10 Python's time.sleep fails with EINVAL; subprocess uses it.
        (folder / "sitecustomize.py").write_text(
            "import select, time\ntime.sleep = lambda s: select.select((), (), (), s)\n"
        )
        self.environment = {
            "PYTHONPATH": f"{folder}:{REPOSITORY}",
            "LD_PRELOAD": _LIBRARIES[0],
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset: str) -> None:
        new = self._file.with_name("new")
        new.write_text(offset + "\n")
        new.replace(self._file)

    def seen(self, clock: str) -> float:
        """What a process with this environment reads from one of its clocks."""
        code = f"import time; print(time.clock_gettime(time.{clock}))"
        environment = {**os.environ, **self.environment}
        return float(
            subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=environment).stdout
        )


def test_order_holds_and_the_jump_is_named_when_the_clock_is_set_back_and_forward(tmp_path: Path) -> None:
    clock = WallClock(tmp_path)
    path = tmp_path / "work" / "a.ipynb"
    saved = []

    def save(text: str) -> None:
        saved.append(notebook_bytes(text))
        path.write_bytes(saved[-1])
        guard.until_kept(path, saved[-1])

    with guarding(tmp_path, path.parent, environment=clock.environment, tables={"packing": {"drafts": 3}}) as guard:
        save("before")
        before = {name: clock.seen(name) for name in ("CLOCK_REALTIME", "CLOCK_BOOTTIME")}
        clock.set("-7200s")
        assert clock.seen("CLOCK_REALTIME") < before["CLOCK_REALTIME"] - 7000, "the fault fired"
        assert clock.seen("CLOCK_BOOTTIME") >= before["CLOCK_BOOTTIME"], "and nothing else"
        found = guard.until_code("clock-jumped")
        assert "back" in found["message"]
        save("two hours earlier")
        save("before" + " again")
        clock.set("+86400s")
        poll(lambda: "forward" in str(guard.problem("clock-jumped")), 30, every=0.2)
        save("a day later")
        assert guard.stop() == 0
        clock.set("+0s")
        guard.start()
        save("after a restart")

        rows = guard.log(path)
        assert [row["sha256"] for row in reversed(rows)] == [sha256(data) for data in saved]
        times = [row["saved_at"] for row in reversed(rows)]
        assert times[1] < times[0] < times[4] < times[3], "shown as the clock said"
        assert guard.show(path, "~0") == saved[-1]
        assert guard.show(path, "~3") == saved[1]
        assert guard.stop() == 0
        assert guard.nbguard("run", "--once").code == 0
        (guard.home / "state" / "catalog.sqlite").unlink()
        assert guard.log(path) == rows, "the same order from git alone"
        assert {row["status"] for row in rows} == {"ok"}
