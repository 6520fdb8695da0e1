"""git, hermetic: a clean environment, our own configuration, none of the user's hooks, filters or signing.

GitPython is imported here and nowhere else, and only for set-up, packing's process, maintenance and mirrors; reading
goes through one plain `git cat-file --batch`. Facts: `git add` runs filters and global core.fsmonitor; `git commit`
runs global core.hooksPath; GIT_DIR in the environment breaks Repo.init. None of these reaches a child started here.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from nbguard.cat_file import CatFile, sha256_of
from nbguard.errors import ArchiveTrouble, BadConfiguration

if TYPE_CHECKING:
    import git as gitpython

OLDEST_GIT = (2, 36)
_NICE = ("/usr/bin/nice", "-n", "19") if os.path.exists("/usr/bin/nice") else ()
EMAIL = "nbguard@localhost"
"""Author of every commit of ours."""

ARCHIVE_CONFIGURATION: tuple[tuple[str, str], ...] = (
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.autocrlf", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.logAllRefUpdates", "always"),
    ("core.fsync", "all"),
    ("core.compression", "1"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("fastimport.unpackLimit", "1"),
    ("receive.denyDeletes", "true"),
    ("receive.denyNonFastForwards", "true"),
    ("receive.autogc", "false"),
    ("transfer.fsckObjects", "true"),
    ("pack.threads", "1"),
    ("pack.windowMemory", "64m"),
    ("pack.deltaCacheSize", "16m"),
    ("core.bigFileThreshold", "64m"),
)


def hermetic_environment(home: str) -> dict[str, str]:
    """The whole environment of a git child. ``home`` is a folder of ours, so that ~/.gitconfig is never read."""
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": home,
        "XDG_CONFIG_HOME": home,
        "LC_ALL": "C",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_AUTHOR_NAME": "nbguard",
        "GIT_AUTHOR_EMAIL": EMAIL,
        "GIT_COMMITTER_NAME": "nbguard",
        "GIT_COMMITTER_EMAIL": EMAIL,
    }


def find_git() -> str:
    """The absolute path of git. Raises BadConfiguration."""
    for folder in os.get_exec_path():  # shutil.which would load every kind of archive there is
        found = os.path.join(folder, "git")
        if os.access(found, os.X_OK) and os.path.isfile(found):
            return os.path.abspath(found)
    raise BadConfiguration("git is not on PATH", hint="install git 2.36 or newer")


def git_version(executable: str) -> tuple[int, ...]:
    """For example (2, 39, 5). Raises BadConfiguration."""
    try:
        done = subprocess.run(
            [executable, "version"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
            env=hermetic_environment(os.devnull),
        )
        answer = done.stdout
        return tuple(int(part) for part in answer.split()[2].split(".")[:3] if part.isdigit())
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        raise BadConfiguration(f"{executable} does not answer: {error}", hint="reinstall git") from error


def check_git() -> str:
    """git's path, once it is known to be new enough. Raises BadConfiguration."""
    executable = find_git()
    version = git_version(executable)
    if version < OLDEST_GIT:
        raise BadConfiguration(
            f"git {'.'.join(map(str, version))} is too old", hint="nbguard needs git 2.36 or newer (core.fsync)"
        )
    return executable


class GitRefused(ArchiveTrouble):
    """git ended with ``status``."""

    def __init__(self, message: str, *, hint: str, status: int) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class GitFolder:
    """One bare repository and the hermetic ways to ask it things. ``settings`` (``key=value``) hold for every child."""

    def __init__(self, folder: str, settings: Sequence[str] = ()) -> None:
        self.folder = folder
        self._settings = [part for setting in settings for part in ("-c", setting)]
        self._environment = hermetic_environment(folder)
        self._porcelain: gitpython.Git | None = None

    def command(self, *arguments: str) -> list[str]:
        """argv for a git child on this repository."""
        # safe.directory: an archive brought back by rsync or root may have another owner ("dubious ownership").
        return [find_git(), "-c", "safe.directory=*", *self._settings, f"--git-dir={self.folder}", *arguments]

    def ask(self, *arguments: str, data: bytes | None = None, timeout_seconds: float = 600.0) -> bytes:
        """Run a reading command with a plain child and return its stdout. Raises ArchiveTrouble."""
        try:
            done = subprocess.run(
                self.command(*arguments),
                input=data,
                capture_output=True,
                env=self._environment,
                timeout=timeout_seconds,
                check=False,
                cwd="/",
                **({} if data is not None else {"stdin": subprocess.DEVNULL}),  # type: ignore[call-overload]
            )
        except subprocess.TimeoutExpired as error:
            raise ArchiveTrouble(f"git {arguments[0]} did not finish in {timeout_seconds:.0f} s") from error
        if done.returncode != 0:
            raise self._refused(arguments, done.returncode, done.stderr)
        return bytes(done.stdout)

    def lines(self, *arguments: str, separator: bytes) -> Iterator[bytes]:
        """Stream a reading command's stdout, split at ``separator``. Raises ArchiveTrouble at the end."""
        with subprocess.Popen(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment,
            cwd="/",
        ) as child:
            assert child.stdout is not None and child.stderr is not None
            rest = b""
            while chunk := child.stdout.read(1 << 20):
                *whole, rest = (rest + chunk).split(separator)
                yield from whole
            if rest.strip():
                yield rest
            stderr = child.stderr.read()
        if child.returncode != 0:
            raise self._refused(arguments, child.returncode, stderr)

    def run(self, *arguments: str, timeout_seconds: float = 3600.0) -> str:
        """Run a writing command (set-up, mirrors) through GitPython. Raises ArchiveTrouble."""
        porcelain = self.porcelain()  # before the import: it clears GIT_* away, some of which GitPython would obey
        import git as gitpython

        try:
            answer = porcelain.execute(
                self.command(*arguments),
                env=self._environment,
                kill_after_timeout=timeout_seconds,
                universal_newlines=False,
                umask=0o077,
            )
        except gitpython.GitCommandError as error:
            raise self._refused(arguments, _status(error.status), str(error.stderr).encode()) from error
        return answer if isinstance(answer, str) else str(answer)

    def work(
        self, arguments: Sequence[str], *, data: bytes, settings: Mapping[str, str], inherit: Sequence[int]
    ) -> bytes:
        """Long work in the background, at the lowest priority: its stdout. Raises ArchiveTrouble.

        ``settings`` are of git's configuration. The child keeps the descriptors in ``inherit`` open, so that the lock
        lasts as long as it works, also when we are gone.
        """
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        process = self.porcelain().execute(
            [*_NICE, *self.command(*options, *arguments)],
            env=self._environment,
            as_process=True,
            istream=subprocess.PIPE,
            pass_fds=tuple(inherit),
            start_new_session=True,
            umask=0o077,
        )
        if process.proc is None:
            raise ArchiveTrouble(f"git {arguments[0]} did not start")
        stdout, stderr = process.proc.communicate(data)
        if process.proc.returncode != 0:
            raise self._refused(arguments, process.proc.returncode, bytes(stderr or b""))
        return bytes(stdout or b"")

    def update_refs(self, commands: str, *, inherit: Sequence[int] = ()) -> tuple[int, str]:
        """One `git update-ref --stdin` transaction; (exit status, stderr). ``inherit``: descriptors it keeps open."""
        process = self.porcelain().execute(
            self.command("update-ref", "--stdin"),
            env=self._environment,
            as_process=True,
            istream=subprocess.PIPE,
            pass_fds=tuple(inherit),
            start_new_session=True,
            umask=0o077,
        )
        if process.proc is None:
            raise ArchiveTrouble("git update-ref did not start")
        try:
            _, stderr = process.proc.communicate(f"start\n{commands}prepare\ncommit\n".encode(), timeout=120)
        except subprocess.TimeoutExpired as error:
            raise ArchiveTrouble("git update-ref does not end", hint="it holds the lock until it does") from error
        return process.proc.returncode, bytes(stderr or b"").decode("utf-8", "replace").strip()

    def porcelain(self) -> gitpython.Git:
        """GitPython's command runner, imported at first use."""
        if self._porcelain is None:
            # GitPython copies os.environ into every child: nothing called GIT_* may be in it.
            for name in [name for name in os.environ if name.startswith("GIT_")]:
                del os.environ[name]
            os.environ["GIT_PYTHON_REFRESH"] = "quiet"
            import git as gitpython

            gitpython.refresh(find_git())
            self._porcelain = gitpython.Git("/")
        return self._porcelain

    def cat_file(self) -> CatFile:
        """A reader of objects that stays open."""
        return CatFile(self.command("cat-file", "--batch"), self._environment)

    def sha256_of(self, names: Sequence[bytes]) -> list[str | None]:
        """SHA-256 of each object (None where missing), through one `git cat-file` that streams them."""
        return sha256_of(self.command("cat-file", "--batch", "--buffer"), self._environment, names)

    def tip(self, ref: str = "refs/heads/main") -> str | None:
        """The commit a ref names, read without a process where it is a loose ref; None when there is none."""
        try:
            with open(os.path.join(self.folder, ref), encoding="ascii") as file:
                found = file.read().strip()
            if len(found) in (40, 64):
                return found
        except (OSError, UnicodeDecodeError):
            pass
        try:
            with open(os.path.join(self.folder, "packed-refs"), encoding="ascii", errors="replace") as file:
                for line in file:
                    commit, _, name = line.strip().partition(" ")
                    if name == ref:
                        return commit
        except OSError:
            pass
        return None

    @staticmethod
    def _refused(arguments: Sequence[str], status: int, stderr: bytes) -> GitRefused:
        said = stderr.decode("utf-8", "replace").strip()[-600:] or "nothing"
        return GitRefused(
            f"git {arguments[0]} ended with {status}: {said}",
            hint="see `nbguard doctor`; drafts stay in the spool",
            status=status,
        )


def _status(status: object) -> int:
    return status if isinstance(status, int) else 1
