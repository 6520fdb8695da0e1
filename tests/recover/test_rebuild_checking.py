"""Whether a rebuilt notebook runs: a real kernel, and nothing left of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import psutil
import pytest

from nbguard.recover.checking import CheckFailed, Limits, check
from tests.helpers import notebook_bytes


def test_cells_that_fail_hang_or_kill_the_kernel_are_named_and_nothing_stays(tmp_path: Path) -> None:
    home = os.environ["HOME"]
    here = tmp_path / "here"
    notebook = notebook_bytes(
        "import os\nx = 1",
        "print(x + 1)",
        f"missing\nopen({str(here)!r}, 'w')",
        f"open({str(here)!r}, 'w').write(os.getcwd())",
        "import time\ntime.sleep(60)",
        "x + 2",
        "os._exit(1)",
        "x",
    )
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    checked = check(notebook, Limits(cell_seconds=5.0))
    assert [(cell.number, cell.why) for cell in checked.failing] == [
        (3, "NameError: name 'missing' is not defined"),
        (5, "timeout"),
        (7, "the kernel died"),
        (8, "not run"),
    ]
    assert checked.outputs["cell-2"] == [{"name": "stdout", "output_type": "stream", "text": "2\n"}]
    assert not Path(here.read_text()).exists()
    assert not list(Path(home).rglob("history.sqlite"))
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


def test_a_kernel_that_does_not_exist_says_nothing_of_the_notebook() -> None:
    notebook = json.loads(notebook_bytes("1"))
    notebook["metadata"] = {"kernelspec": {"name": "no-such-kernel", "display_name": "?"}}
    with pytest.raises(CheckFailed, match="no-such-kernel"):
        check(json.dumps(notebook).encode())
