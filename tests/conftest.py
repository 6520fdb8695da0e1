"""Every test runs in a home of its own; the real one is out of bounds, and in CI no test may skip."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import site
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
REAL_HOME = os.path.realpath(pwd.getpwuid(os.getuid()).pw_dir)

# Under the real home these may be touched: the interpreter, what is installed for it, the checkout, temporary files.
_ALLOWED = tuple(
    os.path.realpath(folder) + os.sep
    for folder in (
        sys.prefix,
        sys.base_prefix,
        sys.exec_prefix,
        site.getusersitepackages(),
        tempfile.gettempdir(),
        str(REPOSITORY),
        *(path for path in sys.path if path),
    )
)
_WATCHED_EVENTS = frozenset(
    {
        "open",
        "os.chmod",
        "os.link",
        "os.listdir",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.scandir",
        "os.symlink",
        "os.truncate",
        "os.utime",
        "shutil.copyfile",
        "shutil.move",
        "shutil.rmtree",
        "sqlite3.connect",
    }
)
_state = {"guarding": False}


class RealHomeTouched(RuntimeError):
    """A test reached for the home of whoever runs it."""


def _forbid_the_real_home(event: str, arguments: tuple[object, ...]) -> None:
    if event not in _WATCHED_EVENTS or not _state["guarding"]:
        return
    for argument in arguments[:2]:
        if not isinstance(argument, str | bytes | os.PathLike):
            continue
        path = os.path.abspath(os.fsdecode(argument)) + os.sep
        if path.startswith(REAL_HOME + os.sep) and not path.startswith(_ALLOWED):
            raise RealHomeTouched(f"{event} {path}: tests work under tmp_path")


if os.sep != REAL_HOME:
    sys.addaudithook(_forbid_the_real_home)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """HOME and all that hangs on it, empty and in a temporary folder; NBGUARD_HOME lies in it, not yet made."""
    folder = tmp_path_factory.mktemp("home", numbered=True)
    for name in [name for name in os.environ if name.startswith(("XDG_", "JUPYTER", "NBGUARD_", "GIT_"))]:
        if name != "NBGUARD_CI":
            monkeypatch.delenv(name)
    for name, below in {
        "HOME": "",
        "XDG_CONFIG_HOME": ".config",
        "XDG_DATA_HOME": ".local/share",
        "XDG_STATE_HOME": ".local/state",
        "XDG_CACHE_HOME": ".cache",
        "XDG_RUNTIME_DIR": ".runtime",
        "JUPYTER_CONFIG_DIR": ".jupyter",
        "JUPYTER_DATA_DIR": ".local/share/jupyter",
        "JUPYTER_RUNTIME_DIR": ".local/share/jupyter/runtime",
        "IPYTHONDIR": ".ipython",
        "NBGUARD_HOME": ".nbguard",
    }.items():
        monkeypatch.setenv(name, str(folder / below))
    monkeypatch.setenv("USER", "tester")
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={folder}/no-bus")
    _state["guarding"] = True
    yield folder
    _state["guarding"] = False


@pytest.fixture(scope="session", autouse=True)
def emergency_places_are_removed(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """A daemon without NBGUARD_HOME keeps files alive in /var/tmp, outside of every temporary home: those of this
    session, known by the folders in their configuration, go with it."""
    yield
    ours = str(tmp_path_factory.getbasetemp())
    for place in Path("/var/tmp").glob(f"nbguard-{os.getuid()}-*"):
        for config in (place / "kept" / "config-before.toml", place / "config-before.toml"):
            with contextlib.suppress(OSError):
                if ours in config.read_text(encoding="utf-8", errors="replace"):
                    shutil.rmtree(place, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI (NBGUARD_CI=1) a skipped test is a failed one: nothing may be missing there."""
    report = yield
    if report.skipped and os.environ.get("NBGUARD_CI") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole module that skips itself."""
    report = yield
    if report.outcome == "skipped" and os.environ.get("NBGUARD_CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report
