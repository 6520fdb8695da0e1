"""README and the page for the worst day: every fenced command is run, and does what the text around it promises.

The wheel is built and installed into a virtual environment of its own; the home is fresh; nothing of the checkout is
used. Commands are run in the order of the pages, by bash, as somebody would paste them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nbguard.cli import main
from tests.alert.servers import Mailbox, smtp
from tests.helpers import REPOSITORY, notebook_bytes, poll

PAGES = ("README.md", "docs/worst-day.md")
OLDER, NOW = notebook_bytes("kept = 'two days ago'"), notebook_bytes("kept = 'now'")


def fenced(page: str) -> list[str]:
    """The lines of a page's ``sh`` blocks."""
    text = (REPOSITORY / page).read_text()
    blocks = re.findall(r"(?ms)^```sh\n(.*?)^```$", text)
    return [line for block in blocks for line in block.splitlines() if line.strip() and not line.startswith("#")]


COMMANDS = [(page, command) for page in PAGES for command in fenced(page)]


@dataclass
class Place:
    """A fresh home, a fresh virtual environment, and the daemon once it was started."""

    home: Path
    venv: Path
    wheel: Path
    mailbox: Mailbox
    daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        passed = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        path = f"{self.venv / 'bin'}:/usr/local/bin:/usr/bin:/bin"
        return {**passed, "HOME": str(self.home), "PATH": path, "LANG": "C.UTF-8", "USER": "ada"}

    @property
    def eda(self) -> Path:
        return self.home / "notebooks" / "eda.ipynb"

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def start(self, command: str) -> None:
        """A daemon stays in the foreground: let it, and go on once it says that it runs."""
        self.daemons.append(subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=self.home, env=self.environment))
        poll(lambda: json.loads(self.run("nbguard status --json").stdout)["daemon"]["running"], 30, every=0.2)

    def stop(self) -> list[int]:
        for daemon in self.daemons:
            daemon.send_signal(signal.SIGTERM)
        return [daemon.wait(30) for daemon in self.daemons]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Generator[Place]:
    folder = tmp_path_factory.mktemp("readme")
    made = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(REPOSITORY)]
    subprocess.run(made, check=True, capture_output=True, timeout=240)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True, timeout=240)
    (wheel,) = folder.glob("*.whl")
    with smtp(Mailbox()) as mailbox:
        yield from _furnished(Place(folder / "home", folder / "venv", wheel, mailbox))


def _furnished(place: Place) -> Generator[Place]:
    checkpoint = place.home / "notebooks" / ".ipynb_checkpoints" / "eda-checkpoint.ipynb"
    checkpoint.parent.mkdir(parents=True)
    (place.home / "disk").mkdir()
    checkpoint.write_bytes(OLDER)
    two_days_ago = checkpoint.stat().st_mtime - 2 * 86_400
    os.utime(checkpoint, (two_days_ago, two_days_ago))
    place.eda.write_bytes(NOW)
    yield place
    place.stop()


def _beside(place: Place, said: str) -> None:
    written = [path for path in place.eda.parent.glob("*.ipynb") if path != place.eda]
    assert OLDER in [path.read_bytes() for path in written]
    assert place.eda.read_bytes() == NOW


def _in_place(place: Place, said: str) -> None:
    assert place.eda.read_bytes() == OLDER
    assert "undo" in said


def _undone(place: Place, said: str) -> None:
    assert place.eda.read_bytes() == NOW


def _rescued(place: Place, said: str) -> None:
    (rescued,) = (place.home / "rescued").rglob("eda.ipynb")
    assert rescued.read_bytes() in (OLDER, NOW)
    shutil.rmtree(place.home / "rescued")


def _gathered(place: Place, said: str) -> None:
    rescued = place.home / "rescued-eda"
    assert f"rebuilt notebook: {rescued}/eda.rebuilt.ipynb" in said
    assert OLDER in [path.read_bytes() for path in (rescued / "found").iterdir()]


def _packed(place: Place, said: str) -> None:
    assert "read back and checked" in said and (place.home / "package.zip").stat().st_size > 1000


def _mailed(place: Place, said: str) -> None:
    """Each code that was mailed is typed back: from then on somebody is known to read it."""
    assert "channels" in (place.home / ".config" / "nbguard" / "config.toml").read_text()
    poll(lambda: place.mailbox.mails, 20)
    code = re.search(r"nbguard ack ([0-9A-Z-]{8,})", place.mailbox.mails[-1].get_content())
    assert code is not None
    assert place.run(f"nbguard ack {code[1]}").returncode == 0
    assert '"live"' in place.run("nbguard alert list --json").stdout


def _mirrored(place: Place, said: str) -> None:
    assert (place.home / "disk" / "nbguard.git" / "HEAD").exists()


def _adopted(place: Place, said: str) -> None:
    answer = place.run(f"NBGUARD_HOME={place.home}/new-machine nbguard log eda.ipynb --json")
    assert [row["sha256"] for row in json.loads(answer.stdout)][-1] == hashlib.sha256(OLDER).hexdigest()


def _two_versions(place: Place, said: str) -> None:
    assert "~1" in said


# What the text around a command promises, beyond exit code 0.
PROMISES: list[tuple[str, Callable[[Place, str], None]]] = [
    (r"nbguard rescue \S+ -o", _gathered),
    (r"nbguard rescue", lambda place, said: _contains(said, "Jupyter's checkpoint")),
    (r"package --all", _packed),
    (r"restore --all", _rescued),
    (r"restore \S+ --at \S+ --in-place", _in_place),
    (r"restore \S+ --at", _beside),
    (r"undo", _undone),
    (r"log ", _two_versions),
    (r"list --deleted", lambda place, said: None),
    (r"list", lambda place, said: _contains(said, "eda.ipynb")),
    (r"diff", lambda place, said: _contains(said, "two days ago")),
    (r"mirror add", _mirrored),
    (r"adopt", _adopted),
    (r"--notify|alert test", _mailed),
    (r"check", lambda place, said: _contains(said, "all kept as they are on disk")),
    (r"status", lambda place, said: _contains(said, "all kept as they are on disk")),
    (r"doctor", lambda place, said: _contains(said, "archive")),
    (r"setup", lambda place, said: _contains(said, "configuration: ")),
    (r"restore", lambda place, said: None),
]


def as_run_here(command: str, place: Place) -> str:
    """The wheel stands for the checkout; and what was kept here is seconds old, so nobody can ask for yesterday."""
    if command == "python -m pip install .":
        return f"python -m pip install {place.wheel}"
    mail = (
        f"'mailto://127.0.0.1:{place.mailbox.port}/?from=n@example.org&to=ada@example.org&mode=insecure' --no-service"
    )
    command = command.replace("mailto://you:secret@mail.example.org", mail).replace("/media/disk", f"{place.home}/disk")
    if command.startswith("nbguard adopt"):
        return f"NBGUARD_HOME={place.home}/new-machine {command} --yes"
    return command.replace("--at yesterday", "--at '1 second ago'") if "--all" in command else command


def _is_of_others(place: Place, answer: subprocess.CompletedProcess[str]) -> bool:
    """Other tests, on the same machine and of the same user, take history away from kernels of theirs."""
    problems = [line for line in answer.stdout.splitlines() if line.startswith("problem:")]
    return answer.returncode == 22 and all(
        "kernel-history-lost" in line and str(place.home) not in line for line in problems
    )


def _contains(said: str, word: str) -> None:
    assert word in said


def test_every_fenced_command_does_what_it_promises(place: Place) -> None:
    done: list[str] = []
    for page, command in COMMANDS:
        if "pytest" in command:
            continue  # run by .ci/run, to the letter; see below
        command = as_run_here(command, place)  # noqa: PLW2901
        if command.startswith("nbguard run --watch"):
            place.start(command)
        else:
            answer = place.run(command)
            said = answer.stdout + answer.stderr
            assert answer.returncode == 0 or _is_of_others(place, answer), f"{page}: {command}\n{said}"
            if command.startswith("nbguard"):
                promise = next((promise for pattern, promise in PROMISES if re.search(pattern, command)), None)
                assert promise is not None, f"{page}: nobody knows what {command!r} promises"
                promise(place, said)
            if command.endswith("--in-place") and page != "README.md":
                assert place.run("nbguard undo").returncode == 0
        done.append(command)
    assert len(done) == len(COMMANDS) - 1
    assert place.stop() == [0] * len(place.daemons)
    assert place.daemons
    place.daemons.clear()


def test_the_test_command_is_one_line_that_ci_runs_to_the_letter() -> None:
    (command,) = [command for _, command in COMMANDS if "pytest" in command]
    assert command == "python -m pip install -e '.[test]' && python -m pytest -m 'not long' -n 4 --dist loadfile"
    script = (REPOSITORY / ".ci" / "run").read_text()
    assert "grep -E '^[^#]*python -m pytest' README.md" in script


def test_every_link_leads_somewhere() -> None:
    pages = [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_command_is_in_the_user_guide() -> None:
    guide = (REPOSITORY / "docs" / "index.md").read_text()
    assert [name for name in main.COMMANDS if f"`{name}" not in guide] == []


def test_every_page_can_be_found_from_the_user_guide() -> None:
    guide = (REPOSITORY / "docs" / "index.md").read_text()
    pages = {page.name for page in (REPOSITORY / "docs").glob("*.md")} - {"index.md"}
    assert [name for name in sorted(pages) if f"]({name})" not in guide] == []


def test_every_problem_that_can_be_named_is_explained() -> None:
    named: set[str] = set()
    for path in (REPOSITORY / "nbguard").rglob("*.py"):
        text = path.read_text()
        named |= set(re.findall(r"""(?:note|Claim|_problem|weighed)\(\s*(?:facts,\s*)?"([a-z]+-[a-z-]+)\"""", text))
        named |= set(re.findall(r"""(?:code|trouble) ?= ?"([a-z]+-[a-z-]+)\"""", text))
    explained = set(re.findall(r"(?m)^\| `([a-z-]+)` \|", (REPOSITORY / "docs" / "problems.md").read_text()))
    assert len(named) > 10
    assert named - explained - {"nothing-matched", "partly-done", "changed-meanwhile"} == set()


def test_every_page_names_tests_that_are_there() -> None:
    for page in [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]:
        named = re.findall(r"`((?:tests|bench)/[^`\s]+)`", page.read_text())
        assert [name for name in named if not (REPOSITORY / name.partition("::")[0]).exists()] == [], page.name
