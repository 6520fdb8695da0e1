"""The reading side of a mirror: what is there, what hosts say of themselves, and fetching their branches."""

from __future__ import annotations

import os
import re
import select
import shlex
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from nbguard.errors import ArchiveTrouble
from nbguard.git import GitFolder, GitRefused, find_git, hermetic_environment
from nbguard.masking import without_secrets
from nbguard.mirror.addresses import Address, Transport, transport_environment
from nbguard.mirror.child import MirrorTrouble, run_child
from nbguard.mirror.layout import HEARTBEAT_FILE, MARK, MARK_FILE, MirrorHeartbeat, Namespace, NewerMirror, check_mark
from nbguard.mirror.there import MOST_BYTES, HostRefs, heartbeat_in, hosts_in, refs_in
from nbguard.ports import Progress

ARCHIVE_FORMAT = 1
"""The newest format of an archive that this nbguard writes; a test compares it with the archive's own."""

LIST_SECONDS = 60.0
SMALL_SECONDS = 120.0
SILENCE_SECONDS = 1800.0
"""However long a whole history takes, git counts aloud meanwhile: after so long without a word, nobody is there."""
_FETCH = ("fetch", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules", "--force")
# What is fetched is checked by git object by object, kept as one pack, and is on the disk before a ref names it.
_CAREFUL = ("transfer.fsckObjects=true", "fetch.unpackLimit=1", "core.fsync=all", "maintenance.auto=false")
_MARK_KEY = ""
_COUNTING = re.compile(r"remote: (?:Enumerating|Counting|Compressing|Total)\b")
_DAMAGE = re.compile(
    r"fsck error|corrupt|inflate|index-pack|bad (?:object|tree|revision)|missing|unable to (?:read|unpack)"
)
_COUNTED = re.compile(rb"(?:Receiving objects|Resolving deltas): +\d+% \((\d+)/(\d+)\)")


class MirrorUnreachable(ArchiveTrouble):
    """The mirror did not answer; ``said`` is what git said, without secrets."""

    code = "mirror-unreachable"

    def __init__(self, message: str, *, hint: str, said: str) -> None:
        super().__init__(message, hint=hint)
        self.said = said


@dataclass(frozen=True, slots=True)
class InMirror:
    """What lies in a mirror: installations by their namespaces, and their life signs: None for one that cannot be
    understood, no entry for a namespace without any. ``is_newer``: a newer nbguard wrote there; ``is_archive``: it
    looks like an archive itself."""

    hosts: Mapping[str, HostRefs]
    beats: Mapping[str, MirrorHeartbeat | None]
    is_newer: bool = False
    is_archive: bool = False

    def is_newer_of(self, host: HostRefs) -> bool:
        """Whether a host's archive may be of a format that this nbguard only reads."""
        beat = self.beats.get(host.namespace)
        return self.is_newer or (beat is not None and beat.archive_format > ARCHIVE_FORMAT)


class Mirrored:
    """One mirror, for reading. ``environment`` and ``home`` are the user's, for what its transport needs."""

    def __init__(self, address: Address, *, environment: Mapping[str, str], home: str) -> None:
        self._url = address.url
        self._service = _upload_pack() if address.transport is Transport.PATH else ()
        self._secrets = address.secrets
        self.shown = address.shown
        self._environment = transport_environment(address, environment, home)

    def refs(self) -> dict[str, str]:
        """Every ref in it: the commit it names. Raises MirrorUnreachable."""
        with _scratch() as folder:
            listing = self._run(
                GitFolder(folder), "ls-remote", "--refs", *self._service, "--", self._url, seconds=LIST_SECONDS
            )
        return refs_in(listing)

    def look(self) -> InMirror:
        """Every installation in it, and what each says of itself. Raises MirrorUnreachable."""
        refs = self.refs()
        hosts = hosts_in(refs)
        wanted = {name: (Namespace(name).heartbeat, HEARTBEAT_FILE) for name, host in hosts.items() if host.heartbeat}
        if MARK in refs:
            wanted[_MARK_KEY] = (MARK, MARK_FILE)
        files = self.files(wanted)
        return InMirror(
            hosts,
            {name: _beat(files[name]) for name in hosts if name in files},
            _is_newer(files),
            is_archive=not hosts and {"refs/heads/main", "refs/nbguard/last-verified"} <= refs.keys(),
        )

    def files(self, wanted: Mapping[str, tuple[str, str]]) -> dict[str, bytes]:
        """The small file at the tip of each (branch, name of the file), by the keys of ``wanted``; b"" where there is
        none, or one that is too large to be ours. Raises MirrorUnreachable."""
        if not wanted:
            return {}
        with _scratch() as folder:
            git = GitFolder(folder, _CAREFUL)
            here = {key: f"refs/seen/{number}" for number, key in enumerate(wanted)}
            specs = [f"+{ref}:{here[key]}" for key, (ref, _) in wanted.items()]
            self._run(
                git, *_FETCH, "--depth=1", "--quiet", *self._service, "--", self._url, *specs, seconds=SMALL_SECONDS
            )
            return {key: _small(git, f"{here[key]}:{name}") for key, (_, name) in wanted.items()}

    def fetch(self, into: str, branches: Mapping[str, str], progress: Progress | None = None) -> None:
        """Fetch branches whole (their full name there: the ref here) into the bare repository ``into``.

        Raises MirrorUnreachable, also when git finds that what is there is not sound.
        """
        git = GitFolder(into, _CAREFUL)
        specs = [f"+{there}:{here}" for there, here in branches.items()]
        command = git.command(*_FETCH, "--progress", *self._service, "--", self._url, *specs)
        try:
            with subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**hermetic_environment(into), **self._environment},
                cwd="/",
                umask=0o077,
                start_new_session=True,  # ssh and upload-pack end with it
            ) as child:
                assert child.stderr is not None
                try:
                    said = _follow(child.stderr.fileno(), progress)
                except BaseException:
                    os.killpg(child.pid, signal.SIGKILL)  # it is not waited for yet: the number is still its own
                    raise
        except OSError as error:
            raise self._unreachable(str(error).encode()) from error
        if child.returncode != 0:
            raise self._unreachable(said)

    def _run(self, git: GitFolder, *arguments: str, seconds: float) -> bytes:
        environment = {**hermetic_environment(git.folder), **self._environment}
        command = git.command(*arguments)
        try:
            said = run_child(command, environment=environment, seconds=seconds, stop=threading.Event())
        except MirrorTrouble as trouble:
            raise self._unreachable(trouble.message.encode()) from trouble
        if said.status != 0:
            raise self._unreachable(said.talk.encode())
        return said.out.encode()

    def _unreachable(self, stderr: bytes) -> MirrorUnreachable:
        lines = stderr.decode("utf-8", "replace").splitlines()
        said = "\n".join(line for line in map(str.strip, lines) if line and not _COUNTING.match(line))[-600:]
        said = without_secrets(said, self._secrets) or "git said nothing"
        hint = "see that it is there, that this machine reaches it, and that you may read it"
        if _DAMAGE.search(said):
            hint = "something in it is damaged: take another mirror; the machine whose copy it is tells it, too"
        return MirrorUnreachable(f"the mirror {self.shown} cannot be read: {said}", hint=hint, said=said)


def _upload_pack() -> tuple[str, ...]:
    """For a repository in a folder: its own configuration shall run nothing as us, whoever owns it."""
    settings = (
        "safe.directory=*",
        "core.hooksPath=/dev/null",
        "core.fsmonitor=false",
        "core.alternateRefsCommand=false",
    )
    words = [find_git(), *(part for setting in settings for part in ("-c", setting)), "upload-pack"]
    return (f"--upload-pack={shlex.join(words)}",)


def _follow(fd: int, progress: Progress | None) -> bytes:
    """Read what git says until it ends; its counts go to ``progress``, the last of the rest is returned. Raises
    TimeoutError when it says nothing for long."""
    rest, heard = b"", select.poll()
    heard.register(fd, select.POLLIN)
    while True:
        if not heard.poll(SILENCE_SECONDS * 1000):
            raise TimeoutError(f"no answer within {SILENCE_SECONDS:.0f} s")
        if not (chunk := os.read(fd, 1 << 14)):
            break
        rest = (rest + chunk)[-(1 << 16) :]
        if progress is not None and (counts := _COUNTED.findall(chunk)):
            progress(int(counts[-1][0]), int(counts[-1][1]))
    return b"\n".join(line for line in re.split(rb"[\r\n]", rest) if line and b"% (" not in line)


def _small(git: GitFolder, name: str) -> bytes:
    try:
        if int(git.ask("cat-file", "-s", name)) > MOST_BYTES:
            return b""
        return git.ask("cat-file", "blob", name)
    except (GitRefused, ValueError):
        return b""


def _beat(data: bytes) -> MirrorHeartbeat | None:
    try:
        return heartbeat_in(data)
    except ArchiveTrouble:
        return None


def _is_newer(files: Mapping[str, bytes]) -> bool:
    return any(_is_of_newer(check_mark if name == _MARK_KEY else heartbeat_in, data) for name, data in files.items())


def _is_of_newer(read: Callable[[bytes], object], data: bytes) -> bool:
    try:
        read(data)
    except NewerMirror:
        return True
    except ArchiveTrouble:
        return False
    return False


@contextmanager
def _scratch() -> Iterator[str]:
    """An empty bare repository that goes when it is left."""
    with tempfile.TemporaryDirectory(prefix="nbguard-mirror-") as base:
        folder = os.path.join(base, "scratch.git")
        GitFolder(folder).ask("init", "--bare", "--quiet", "--template=", folder)
        yield folder
