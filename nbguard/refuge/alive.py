"""Keeping alive what we have: a second name for each file outside HOME, or an open descriptor where that cannot be.

A hard link costs no space, follows a file that grows, and outlives `rm -rf`. Other file systems (and an emergency place
that itself lies in HOME) leave only descriptors; those live as long as the daemon. Nothing is let go because it is
gone: a draft is when the packer says so, a pack when others hold its objects, the rest after an hour in which all was
well. So a removal that is just going on is never followed.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from nbguard.durable import fsync_folder, make_private_folder, unlink_quietly, write_all
from nbguard.refuge.survey import Kind, Seen, Survey

Covers = Callable[[str, Sequence[str]], bool]
"""Whether the pack index at a path names only objects that some of the other indexes name too."""

FORGOTTEN_SECONDS = 3600.0
_CHUNK = 1 << 20
_STAGED = ".staged"
_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class _Held:
    """One file that is alive: by a name in our folder (``fd`` is -1) or by a descriptor."""

    kind: Kind
    device: int
    inode: int
    fd: int = -1

    def is_of(self, seen: Seen) -> bool:
        return (self.device, self.inode) == (seen.device, seen.inode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look found. ``lost``: drafts that vanished though nobody packed them; ``unheld``: how many files could
    not be kept alive."""

    changed: bool
    lost: tuple[str, ...]
    unheld: int
    reason: str = ""


class Alive:
    """Holds what a survey finds, in ``folder`` (None: descriptors only). Hold and release from any thread."""

    def __init__(self, survey: Survey, *, folder: str | None, covers: Covers, most_fds: int = 4096) -> None:
        self.folder = folder
        self._survey = survey
        self._covers = covers
        self._most_fds = most_fds
        self._lock = threading.RLock()
        self._held: dict[str, _Held] = {}
        self._released: set[str] = set()
        self._given_back: set[str] = set()
        self._gone_since: dict[str, float] = {}
        self._folder_fd = -1
        self._fds = 0
        self._unheld: dict[str, str] = {}
        self._is_dirty = True

    # -- holding -----------------------------------------------------------------------------------------------------

    def hold(self, path: str) -> None:
        """Keep one new file alive at once. Raises nothing: the next look tries again."""
        name = self._survey.name_of(path)
        if name is None:
            return  # it lies in the emergency place already
        with self._lock, suppress(OSError):
            status = os.lstat(path)
            self._hold(name, Seen(path, kind_of(name), status.st_dev, status.st_ino))

    def release(self, names: Iterable[str], *, now: float) -> None:
        """Let go of drafts (by their file names): the archive has them, and whatever it took is alive first."""
        self.look(now=now)
        with self._lock:
            for name in names:
                for shelf in ("new", "aside", "records"):
                    self._released.add(f"spool/{shelf}/{name}")
                    self._drop(f"spool/{shelf}/{name}")

    def look(self, *, now: float, is_well: bool | None = None) -> Look:
        """Hold what is new, let go of what may go. ``now`` is monotonic seconds; ``is_well`` says that HOME and all of
        ours is where it belongs (None: nobody looked)."""
        with self._lock:
            self._check_folder()
            self._drop_broken()
            present, anew = self._survey.look()
            if is_well is False:
                self._gone_since = dict.fromkeys(self._gone_since, now)
            if not anew and not self._is_dirty and not self._is_any_forgotten(now):
                return self._report(changed=False, lost=())
            self._is_dirty = False
            self._released &= present.keys()
            staged = self._hold_all(present)
            for name in staged:
                self._put_in_place(name)
            return self._report(changed=True, lost=self._let_go(present, now))

    def names(self) -> list[str]:
        """What is held, by name."""
        with self._lock:
            return sorted(self._held)

    def path(self, name: str) -> str:
        """A path under which a held file can be read now."""
        held = self._held[name]
        if held.fd >= 0:
            return f"/proc/self/fd/{held.fd}" if os.path.isdir("/proc/self/fd") else f"/dev/fd/{held.fd}"
        return self._at(name)

    # -- giving back -------------------------------------------------------------------------------------------------

    def give(self, name: str, target: str) -> None:
        """Put a held file at ``target``, whole or not at all; what stands there gives way. Raises OSError."""
        with self._lock:
            held = self._held[name]
            make_private_folder(os.path.dirname(target))
            making = os.path.join(os.path.dirname(target), f".nbguard-{os.urandom(6).hex()}.tmp")
            try:
                if held.fd < 0:
                    try:
                        os.link(self._at(name), making)
                    except OSError:
                        _copy_file(self._at(name), making)
                else:
                    _copy(held.fd, making)
                os.rename(making, target)
            finally:
                unlink_quietly(making)  # also after a rename: two names of one file are not renamed, but left
            self._given_back.add(name)

    def give_all(self, home: str) -> list[str]:
        """Everything held, laid out below ``home`` as under NBGUARD_HOME, names after their objects; drafts and record
        segments only if they are not there. Returns what could not be given, with the reason."""
        failed: list[str] = []
        folders = set()
        for name in sorted(self.names(), key=lambda name: (self._held[name].kind is Kind.NAME, name)):
            target = os.path.join(home, name)
            if self._held[name].kind is not Kind.NAME and os.path.exists(target):
                continue
            try:
                self.give(name, target)
                folders.add(os.path.dirname(target))
            except OSError as error:
                failed.append(f"{name}: {error.strerror or error}")
        for folder in folders:
            with suppress(OSError):
                fsync_folder(folder)
        return failed

    def is_last(self) -> bool:
        """Whether something lives by our descriptors alone."""
        with self._lock:
            return any(
                held.fd >= 0 and held.kind in (Kind.DRAFT, Kind.OBJECTS) and os.fstat(held.fd).st_nlink == 0
                for held in self._held.values()
            )

    def close(self) -> None:
        """Close every descriptor; links stay for the next daemon."""
        with self._lock:
            for name in [name for name, held in self._held.items() if held.fd >= 0]:
                self._drop(name)
            if self._folder_fd >= 0:
                os.close(self._folder_fd)
                self._folder_fd = -1

    # -- how ---------------------------------------------------------------------------------------------------------

    def _hold_all(self, present: dict[str, Seen]) -> list[str]:
        """Hold what is new; gives the names that wait until their objects are held."""
        staged = []
        self._unheld = {}
        for name, seen in present.items():
            held = self._held.get(name)
            if name in self._released or (held is not None and held.is_of(seen)):
                continue
            try:
                self._hold(name, seen)
                if seen.kind is Kind.NAME:
                    staged.append(name)
            except FileNotFoundError:
                continue  # gone since the folder was listed
            except OSError as error:
                self._unheld[name] = error.strerror or str(error)
                self._is_dirty = True
        return staged

    def _hold(self, name: str, seen: Seen) -> None:
        """Raises OSError."""
        is_name = seen.kind is Kind.NAME
        held = self._link(name, seen, _STAGED if is_name else "") if self.folder is not None else None
        if held is None:
            held = self._open(seen)
        if is_name and (held.device, held.inode) != (seen.device, seen.inode):
            # Replaced since it was seen: it may stand for objects that were not seen.
            self._is_dirty = True
            if held.fd >= 0:
                os.close(held.fd)
            raise FileNotFoundError(name)
        before = self._held.get(name)
        if before is not None and before.fd >= 0:
            os.close(before.fd)
            self._fds -= 1
        if held.fd >= 0:
            self._fds += 1
        self._held[name] = held

    def _link(self, name: str, seen: Seen, suffix: str) -> _Held | None:
        """None where the file system has it otherwise: another device, no links, no room."""
        target = self._at(name) + suffix
        for _ in range(3):
            try:
                os.link(seen.path, target)
                status = os.lstat(target)
                return _Held(seen.kind, status.st_dev, status.st_ino)
            except FileExistsError:
                status = os.lstat(target)
                if (status.st_dev, status.st_ino) == (seen.device, seen.inode):
                    return _Held(seen.kind, status.st_dev, status.st_ino)
                unlink_quietly(target)
            except FileNotFoundError:
                if os.path.isdir(os.path.dirname(target)):
                    raise  # it is the file that is gone
                try:
                    make_private_folder(os.path.dirname(target))
                except OSError:
                    return None
            except OSError:
                return None
        return None

    def _open(self, seen: Seen) -> _Held:
        """Raises OSError."""
        if self._fds >= self._most_fds:
            raise OSError("too many files for open descriptors")
        fd = os.open(seen.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        status = os.fstat(fd)
        return _Held(seen.kind, status.st_dev, status.st_ino, fd)

    def _put_in_place(self, name: str) -> None:
        if self._held[name].fd < 0:
            with suppress(FileNotFoundError):
                os.rename(self._at(name) + _STAGED, self._at(name))
                unlink_quietly(self._at(name) + _STAGED)  # two names of one file are not renamed, but left

    def _let_go(self, present: dict[str, Seen], now: float) -> tuple[str, ...]:
        gone = [name for name in self._held if name not in present]
        self._gone_since = {name: self._gone_since.get(name, now) for name in gone if _is_forgettable(name)}
        if not gone:
            return ()
        files = {(seen.device, seen.inode) for seen in present.values()}
        indexes = [name for name in self._held if name.endswith(".idx") and name in present]
        lost = []
        for name in gone:
            held = self._held.get(name)
            if held is None:
                continue  # dropped with its index
            if held.kind is Kind.DRAFT:
                if (held.device, held.inode) in files:  # put aside, or back again
                    self._drop(name)
                elif name not in self._given_back:
                    lost.append(name)
            elif held.kind is Kind.OBJECTS and name.endswith(".idx"):
                if self._is_covered(name, indexes):
                    self._drop(name.removesuffix(".idx") + ".pack")
                    self._drop(name)
            elif now - self._gone_since.get(name, now) >= FORGOTTEN_SECONDS:
                self._drop(name)
        self._is_dirty |= bool(lost)
        return tuple(lost)

    def _is_any_forgotten(self, now: float) -> bool:
        return any(now - since >= FORGOTTEN_SECONDS for since in self._gone_since.values())

    def _is_covered(self, name: str, indexes: Sequence[str]) -> bool:
        pack = name.removesuffix(".idx") + ".pack"
        if pack not in self._held:
            return True  # an index alone holds nothing
        try:
            return self._covers(self.path(name), [self.path(one) for one in indexes])
        except (OSError, ValueError):
            return False

    def _drop(self, name: str) -> None:
        held = self._held.pop(name, None)
        self._given_back.discard(name)
        self._gone_since.pop(name, None)
        if held is None:
            return
        if held.fd >= 0:
            os.close(held.fd)
            self._fds -= 1
        else:
            unlink_quietly(self._at(name))

    def _drop_broken(self) -> None:
        """Let go of descriptors on a disk that failed: nothing is read by them, and they keep it from being mounted."""
        by_device: dict[int, list[str]] = {}
        for name, held in self._held.items():
            if held.fd >= 0:
                by_device.setdefault(held.device, []).append(name)
        for names in by_device.values():
            if all(_is_broken(self._held[name].fd) for name in names[:_SAMPLES]):
                for name in names:
                    self._drop(name)
                self._is_dirty = True

    def _check_folder(self) -> None:
        """Begin anew when our folder is not the one it was; first of all, take over what an earlier daemon held."""
        if self.folder is None or (self._folder_fd >= 0 and _is_at(self._folder_fd, self.folder)):
            return
        self._is_dirty = True
        if self._folder_fd >= 0:
            os.close(self._folder_fd)
            self._folder_fd = -1
        for name in [name for name, held in self._held.items() if held.fd < 0]:
            del self._held[name]
        try:
            make_private_folder(self.folder)
            # Held open, so that a folder which is made anew can never be mistaken for it.
            self._folder_fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return  # then there are descriptors
        self._take_over(self.folder)

    def _take_over(self, folder: str) -> None:
        for base, _, names in os.walk(folder):
            for file in names:
                path = os.path.join(base, file)
                name = os.path.relpath(path, folder)
                try:
                    if file.endswith((_STAGED, ".tmp")):
                        os.unlink(path)
                        continue
                    status = os.lstat(path)
                except OSError:
                    continue
                self._held.setdefault(name, _Held(kind_of(name), status.st_dev, status.st_ino))

    def _at(self, name: str) -> str:
        assert self.folder is not None
        return os.path.join(self.folder, name)

    def _report(self, *, changed: bool, lost: tuple[str, ...]) -> Look:
        reason = next(iter(self._unheld.values()), "")
        return Look(changed=changed, lost=lost, unheld=len(self._unheld), reason=reason)


def _is_at(fd: int, path: str) -> bool:
    """Whether an open folder is still the one at ``path``."""
    try:
        here, there = os.fstat(fd), os.lstat(path)
    except OSError:
        return False
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _is_broken(fd: int) -> bool:
    try:
        os.pread(fd, 1, 0)
    except OSError as error:
        return error.errno == errno.EIO
    return False


def _is_forgettable(name: str) -> bool:
    return kind_of(name) in (Kind.NAME, Kind.REST)


def kind_of(name: str) -> Kind:
    """The kind of a file by its place."""
    if name.startswith("archive.git/objects/"):
        return Kind.OBJECTS
    if name.startswith(("spool/new/", "spool/aside/", "spool/records/")):
        return Kind.DRAFT
    return Kind.REST if name.startswith(("spool/recorded/", "spool/databases/")) else Kind.NAME


def _copy_file(source: str, target: str) -> None:
    fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        _copy(fd, target)
    finally:
        os.close(fd)


def _copy(fd: int, target: str) -> None:
    """The bytes of an open file as a new file, durable, with its time of change. Raises OSError."""
    out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        offset = 0
        while chunk := os.pread(fd, _CHUNK, offset):
            write_all(out, chunk)
            offset += len(chunk)
        os.fsync(out)
        changed_ns = os.fstat(fd).st_mtime_ns
        os.utime(out, ns=(changed_ns, changed_ns))
    finally:
        os.close(out)
