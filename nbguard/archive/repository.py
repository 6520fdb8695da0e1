"""The archive: a bare git repository that stock git can read, made once and known by a marker in state."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from nbguard.archive.trailers import Decision, records_in
from nbguard.durable import (
    fsync_file,
    fsync_folder,
    make_private_folder,
    read_plain,
    replace_durably,
    unlink_quietly,
    write_all,
)
from nbguard.errors import ArchiveTrouble, NoArchive, storage_trouble
from nbguard.git import ARCHIVE_CONFIGURATION, EMAIL, GitFolder, GitRefused, check_git
from nbguard.model import Version
from nbguard.places import Places

FORMAT = 1
MAIN = "refs/heads/main"
VERIFIED = "refs/nbguard/last-verified"
RECORDS = "refs/heads/records"
RECORDS_VERIFIED = "refs/nbguard/records-verified"

_README = """This folder belongs to nbguard. archive.git is a bare git repository, format {format}: it holds every kept
version of every notebook, and stock git (2.36 or newer) reads it without nbguard.

Which notebooks are there:
    git -C {archive} ls-tree -r --name-only main notebooks/
Versions of one notebook, newest first (put its path from / behind notebooks):
    git -C {archive} log -- notebooks/home/ada/work/eda.ipynb
The newest one, or the one of a commit from that log:
    git -C {archive} show main:notebooks/home/ada/work/eda.ipynb > eda.ipynb
    git -C {archive} show COMMIT:notebooks/home/ada/work/eda.ipynb > eda.ipynb
A notebook that was deleted: find its last commit, and take the version before it
    git -C {archive} log --diff-filter=D --name-only -- notebooks/
    git -C {archive} show COMMIT^:notebooks/home/ada/work/eda.ipynb > eda.ipynb

Characters in names that git or some file system refuses are written as %XX. Versions of the last minutes may still
lie in the spool, one file each: the first line is a header, the notebook's bytes follow it
    tail -n +2 spool/new/FILE > eda.ipynb

Executed cells are on branch records, one JSON object a line, in a file for each stretch of time
    git -C {archive} ls-tree -r --name-only records
    git -C {archive} show records:executed/2026/11/21/FILE

Do not commit here, and do not remove *.lock files while nbguard runs.
"""

# In our configuration file, which no process is needed to read.
_ID = re.compile(r"^\[nbguard\][^\[]*?^\s*id = ([0-9a-f]{32})$", re.MULTILINE | re.DOTALL)


def _furnish(folder: str, identity: str, archive_format: int = FORMAT) -> None:
    """Give a bare repository our configuration and the folders we write to. Raises OSError."""
    with open(os.path.join(folder, "config"), "a", encoding="utf-8") as file:
        for key, value in (*ARCHIVE_CONFIGURATION, ("nbguard.format", str(archive_format)), ("nbguard.id", identity)):
            section, _, name = key.partition(".")
            file.write(f"[{section}]\n\t{name} = {value}\n")
    for part in ("refs/heads", "refs/nbguard", "objects/pack", "objects/info"):
        make_private_folder(os.path.join(folder, part))


def lay_out(folder: str, identity: str, archive_format: int = FORMAT) -> None:
    """Make a bare repository of ours, without any version, at ``folder``. Raises OSError, ArchiveTrouble."""
    make_private_folder(folder)
    GitFolder(folder).run("init", "--bare", "--quiet", "--initial-branch=main", "--template=", folder)
    _furnish(folder, identity, archive_format)


class Archive:
    """The archive of this installation."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.folder = places.archive
        self.git = GitFolder(places.archive)

    @property
    def lock_path(self) -> str:
        """Every writer of refs holds a flock on this file."""
        return os.path.join(self.folder, "nbguard.lock")

    def exists(self) -> bool:
        return os.path.isfile(os.path.join(self.folder, "HEAD"))

    def was_made(self) -> bool:
        """Whether an archive was ever made here (a marker in state)."""
        return os.path.exists(self.places.archive_marker)

    def identity(self) -> str:
        """The archive's id (32 hex digits); '' when there is none."""
        try:
            return read_plain(self.places.archive_marker, 4_096).decode("ascii").strip()
        except (OSError, ValueError):
            return ""

    def require(self) -> None:
        """Raises NoArchive when there is none, or when the one that was made has vanished."""
        if not self.exists():
            if self.was_made():
                raise NoArchive(
                    f"the archive {self.folder} has vanished",
                    hint="mount or bring it back; what was kept since lies in the spool and is not lost",
                )
            raise NoArchive("there is no archive yet", hint="run `nbguard setup`, or `nbguard run --watch DIR`")
        if self.was_made() and self._is_another():
            raise NoArchive(
                f"{self.folder} is not the archive that was made here",
                hint="bring that one back; what was kept since lies in the spool and is not lost. To go on with this "
                f"one instead, remove {self.places.archive_marker}",
            )

    def _is_another(self) -> bool:
        """Whether another repository lies where ours was: one of another id, or an empty one that has none.

        A clone of ours has no id, but our history; whether that goes on where we stopped is checked when packing.
        """
        wanted = self.identity()
        try:
            with open(os.path.join(self.folder, "config"), encoding="utf-8", errors="replace") as file:
                found = _ID.search(file.read())
        except OSError:
            return False
        if found is None:
            return self.tip() is None
        return bool(wanted) and found.group(1) != wanted

    def ensure(self) -> bool:
        """Make the archive if none was ever made here; returns whether it did. Raises NoArchive when it vanished."""
        if self.exists():
            self.require()
            self._check_format()
            self._take_over()
            return False
        if self.was_made():
            self.require()
        check_git()
        try:
            self._make()
        except OSError as error:
            raise storage_trouble(error, f"cannot make the archive {self.folder}") from error
        return True

    def tip(self) -> str | None:
        """The commit main names; None in an archive without versions. Costs no process."""
        return self.git.tip(MAIN)

    def verified_tip(self) -> str | None:
        """The last tip whose versions were all read back."""
        return self.git.tip(VERIFIED)

    def settle(self, tip: str, ref: str = MAIN) -> None:
        """Make it durable that a branch names ``tip``, where a crash or a disk error left that open. Raises OSError.

        A new file, since an error of fsync is told once and then forgotten; put in place as git does, by its lock.
        """
        path = os.path.join(self.folder, ref)
        fd = os.open(f"{path}.lock", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                write_all(fd, tip.encode("ascii") + b"\n")
                os.fsync(fd)
            finally:
                os.close(fd)
            if self.git.tip(ref) == tip:
                os.rename(f"{path}.lock", path)
        finally:
            unlink_quietly(f"{path}.lock")
        fsync_folder(os.path.dirname(path))

    def note_verified(self, tip: str, verified: str = VERIFIED) -> None:
        """All that was packed up to ``tip`` was read back. Only under the lock. Raises OSError."""
        replace_durably(os.path.join(self.folder, verified), tip.encode("ascii") + b"\n")

    def readable_tip(self, known: str | None, *, ref: str = MAIN, verified_ref: str = VERIFIED) -> str | None:
        """What readers follow: a branch; but when it was moved off what is verified, that, since it holds more.

        ``known`` is a tip that was found in order before. Raises ArchiveTrouble.
        """
        tip, verified = self.git.tip(ref), self.git.tip(verified_ref)
        if verified is None or (tip is not None and tip in (verified, known)):
            return tip
        if tip is not None and self.contains(verified, tip):
            return tip
        return verified if tip is None or self._has_commit(verified) else tip

    def contains(self, ancestor: str, tip: str) -> bool:
        """Whether ``ancestor`` is part of the history of ``tip``. Raises ArchiveTrouble when ``tip`` is unreadable."""
        try:
            self.git.ask("merge-base", "--is-ancestor", ancestor, tip)
        except GitRefused as refused:
            if refused.status == 1 or self._has_commit(tip):
                return False
            raise
        return True

    def records(self, tip: str, *, after: str | None = None) -> Iterator[Version | Decision]:
        """Everything committed up to ``tip`` (and not in ``after``), oldest first. Raises ArchiveTrouble.

        A commit by somebody else says nothing, whatever stands in it.
        """
        yield from records_of(self.git, f"{after}..{tip}" if after else tip)

    def _has_commit(self, commit: str) -> bool:
        try:
            self.git.ask("cat-file", "-e", f"{commit}^{{commit}}")
        except GitRefused:
            return False
        return True

    def count(self, tip: str) -> int:
        """How many commits there are up to ``tip``."""
        return int(self.git.ask("rev-list", "--count", tip))

    def remove_stale_locks(self) -> list[str]:
        """Remove git's own locks and temporary objects; call only while holding the flock (nobody else writes)."""
        removed: list[str] = []
        for folder in ("", "refs/heads", "refs/nbguard", "objects/pack", "objects/info"):
            base = os.path.join(self.folder, folder)
            try:
                names = os.listdir(base)
            except FileNotFoundError:
                continue
            for name in names:
                if name == "nbguard.lock":
                    continue
                if name.endswith(".lock") or name.startswith(("tmp_", ".tmp-", ".nbguard-")):
                    unlink_quietly(os.path.join(base, name))
                    removed.append(os.path.join(folder, name))
        return removed

    def _make(self) -> None:
        """Under another name first: an archive is whole, or not there."""
        make_private_folder(os.path.dirname(self.folder))
        make_private_folder(self.places.state)
        making = f"{self.folder}.{os.urandom(4).hex()}.new"
        identity = os.urandom(16).hex()
        try:
            lay_out(making, identity)
            self.put_in_place(making, identity)
        except BaseException:
            import shutil  # slow to load, and seldom needed

            shutil.rmtree(making, ignore_errors=True)
            raise

    def put_in_place(self, making: str, identity: str) -> None:
        """A repository that was made beside becomes the archive, in one step, once all of it is durable; there must be
        none. Raises OSError."""
        readme = _README.format(format=FORMAT, archive=self.folder).encode("utf-8", "surrogateescape")
        replace_durably(os.path.join(making, "README"), readme)
        for folder, _, names in os.walk(making):
            for name in names:
                fsync_file(os.path.join(folder, name))
            fsync_folder(folder)
        os.rename(making, self.folder)
        fsync_folder(os.path.dirname(self.folder))
        replace_durably(f"{self.folder}.README.txt", readme)
        self._mark(identity)

    def _take_over(self) -> None:
        """Furnish a clone that was put here (git clones no configuration), and mark what is not marked."""
        found = self._config("nbguard.id")
        identity = found or self.identity() or os.urandom(16).hex()
        try:
            if not found:
                _furnish(self.folder, identity)
            if not self.was_made():
                self._mark(identity)
        except OSError as error:
            raise storage_trouble(error, f"cannot take over the archive {self.folder}") from error

    def _mark(self, identity: str) -> None:
        make_private_folder(self.places.state)
        replace_durably(self.places.archive_marker, identity.encode("ascii") + b"\n")

    def _config(self, key: str) -> str:
        try:
            return self.git.ask("config", "--get", key).decode("utf-8", "replace").strip()
        except ArchiveTrouble:
            return ""

    def _check_format(self) -> None:
        found = self._config("nbguard.format")
        if found.isdigit() and int(found) > FORMAT:
            raise ArchiveTrouble(
                f"the archive has format {found}, this nbguard writes {FORMAT}",
                hint="update nbguard; reading works, writing is refused",
            )


def records_of(git: GitFolder, span: str) -> Iterator[Version | Decision]:
    """Everything that the commits of ``span`` speak of, oldest first. Raises ArchiveTrouble."""
    for raw in git.lines("log", "--reverse", "--format=%H %ae%n%B", "-z", span, separator=b"\0"):
        head, _, message = raw.decode("utf-8", "replace").strip("\n").partition("\n")
        commit, _, author = head.partition(" ")
        if author == EMAIL:
            yield from records_in(message, commit)
