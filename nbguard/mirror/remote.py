"""One mirror, for one try: what is there, pushing, and getting back a few objects. Through git children that nobody
waits for longer than a time, from a scratch repository that borrows the archive's objects."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nbguard.git import find_git, hermetic_environment
from nbguard.masking import without_secrets
from nbguard.mirror.addresses import Address, Transport, transport_environment
from nbguard.mirror.child import MirrorTrouble, Said, run_child
from nbguard.mirror.objects import SmallCommit, write_objects
from nbguard.mirror.there import refs_in
from nbguard.ports import Progress

SCRATCH_PREFIX = "mirror-"
LIST_SECONDS = 90.0
SMALL_SECONDS = 300.0
PUSH_SECONDS = 21_600.0
_MOST_SAID = 300
# As maintenance: one thread, and no more memory than this, in what packs here and in what unpacks on a disk of ours.
FRUGAL = (
    "core.bigFileThreshold=8m",
    "core.packedGitWindowSize=8m",
    "core.packedGitLimit=32m",
    "core.deltaBaseCacheLimit=8m",
    "pack.windowMemory=32m",
    "pack.deltaCacheSize=8m",
    "pack.threads=1",
    "index.threads=1",
)
_HERE = (
    *FRUGAL,
    "core.hooksPath=/dev/null",
    "gc.auto=0",
    "maintenance.auto=false",
    "push.followTags=false",
    "push.recurseSubmodules=no",
    "protocol.version=2",
    "http.lowSpeedLimit=200",
    "http.lowSpeedTime=90",
)
# A folder's own configuration and hooks shall run nothing as us: what stands among the words of a command goes first.
_THERE = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.alternateRefsCommand=false",
    "core.fsync=all",
    "receive.fsckObjects=true",
    *FRUGAL,
)


@dataclass(frozen=True, slots=True)
class Wish:
    """Put ``commit`` at ``ref``. ``instead_of``: only if that stands there now ("" for nothing), then also backwards;
    None: forwards alone."""

    commit: str
    ref: str
    instead_of: str | None = None


class Remote:
    """Use it as a context; ``archive`` is the repository whose objects are pushed, ``state`` a folder of ours."""

    def __init__(
        self,
        address: Address,
        *,
        archive: str,
        state: str,
        environment: Mapping[str, str],
        home: str,
        stop: threading.Event,
    ) -> None:
        self.address = address
        self._archive = archive
        self._state = state
        self._stop = stop
        self._environment = {
            **hermetic_environment(state),
            **transport_environment(address, environment, home),
        }
        self.scratch = ""

    def __enter__(self) -> Remote:
        self.scratch = make_scratch(self._state, borrow=self._archive)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)

    def refs(self, *patterns: str) -> dict[str, str]:
        """Every branch there, or those that fit one of the patterns. Raises MirrorTrouble, Stopped."""
        said = self._git("ls-remote", "--refs", *self._service("upload-pack"), "--", self.address.url, *patterns)
        if said.status:
            raise self._trouble("it cannot be read", said)
        return refs_in(said.out.encode("utf-8", "replace"))

    def push(
        self, wishes: Sequence[Wish], *, seconds: float = SMALL_SECONDS, progress: Progress | None = None
    ) -> dict[str, str]:
        """What was refused, by ref: the reason. Raises MirrorTrouble, Stopped."""
        leases = [f"--force-with-lease={w.ref}:{w.instead_of}" for w in wishes if w.instead_of is not None]
        words = ["push", "--porcelain", "--no-verify", "--progress", *self._service("receive-pack"), *leases]
        said = self._git(
            *words,
            "--",
            self.address.url,
            *(f"{wish.commit}:{wish.ref}" for wish in wishes),
            seconds=seconds,
            progress=progress,
        )
        refused = _refused(said.out)
        if said.status and not refused:
            raise self._trouble("it does not take what is pushed", said)
        because = self.clean(
            "\n".join(line for line in said.talk.splitlines() if line.startswith(("remote:", "fatal:")))
        )
        return {ref: self.clean(f"{why}\n{because}") for ref, why in refused.items()}

    def add(self, commit: SmallCommit) -> None:
        """Make a small commit at hand for pushing. Raises OSError."""
        write_objects(self.scratch, commit)

    def knows(self, commit: str) -> bool:
        """Whether the archive (or the scratch repository) has a commit."""
        return self._own("cat-file", "-e", f"{commit}^{{commit}}").status == 0

    def contains(self, ancestor: str, tip: str) -> bool:
        """Whether ``ancestor`` is part of the history of ``tip``."""
        return self._own("merge-base", "--is-ancestor", ancestor, tip).status == 0

    def count(self, tip: str, after: str | None) -> int:
        """How many commits lie behind ``after``, up to ``tip``. Raises MirrorTrouble."""
        said = self._own("rev-list", "--first-parent", "--count", tip, *((f"^{after}",) if after else ()))
        if said.status:
            raise self._trouble("the archive cannot be read", said)
        return int(said.out)

    def fetch_into(
        self, repository: str, wanted: Sequence[str], *, asking: bool = False, shallow: bool = False
    ) -> str | None:
        """Fetch branches, or objects by their ids, into a repository of ours; the reason where that is refused.

        ``asking``: a server that runs what we name is asked to give single objects. Raises MirrorTrouble, Stopped.
        """
        service = self._service("upload-pack")
        if asking and not service:
            service = ("--upload-pack=git -c uploadpack.allowAnySHA1InWant=true upload-pack",)
        depth = ("--depth=1",) if shallow else ()
        words = ("fetch", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--quiet", *depth, *service)
        said = self._git(*words, "--", self.address.url, *wanted, seconds=SMALL_SECONDS, folder=repository)
        return self.clean(said.talk) or f"git ended with {said.status}" if said.status else None

    def clean(self, text: str) -> str:
        """What a server said, for people: one short line without secrets or control characters."""
        lines = [line.removeprefix("remote:").strip() for line in text.replace("\r", "\n").split("\n")]
        told = [line for line in lines if line and "% (" not in line and not line.startswith(("hint:", "Done"))]
        line = "; ".join(told)[-_MOST_SAID:]
        line = "".join(c if c.isprintable() else "?" for c in line)
        return without_secrets(line, self.address.secrets)

    def _service(self, name: str) -> tuple[str, ...]:
        if self.address.transport is not Transport.PATH:
            return ()
        more = ("uploadpack.allowAnySHA1InWant=true",) if name == "upload-pack" else ()
        words = [find_git(), *(part for setting in (*_THERE, *more) for part in ("-c", setting)), name]
        return (f"--{name}={shlex.join(words)}",)

    def _own(self, *words: str) -> Said:
        return self._git(*words, seconds=SMALL_SECONDS)

    def _git(
        self, *words: str, seconds: float | None = None, progress: Progress | None = None, folder: str = ""
    ) -> Said:
        settings = [part for setting in _HERE for part in ("-c", setting)]
        command = [find_git(), "-c", "safe.directory=*", *settings, f"--git-dir={folder or self.scratch}", *words]
        return run_child(
            command,
            environment=self._environment,
            seconds=seconds or LIST_SECONDS,
            stop=self._stop,
            progress=progress,
        )

    def _trouble(self, what: str, said: Said) -> MirrorTrouble:
        why = self.clean(said.talk) or f"git ended with {said.status}"
        return MirrorTrouble(
            f"{what}: {why}", hint="see that its disk or server is there, and that you may read and write it"
        )


def _refused(porcelain: str) -> dict[str, str]:
    """Lines ``!<tab>from:to<tab>[rejected] (reason)`` of `git push --porcelain`."""
    found = {}
    for line in porcelain.splitlines():
        flag, _, rest = line.partition("\t")
        names, tab, why = rest.partition("\t")
        if flag.strip() == "!" and tab:
            found[names.partition(":")[2]] = why
    return found


def make_scratch(folder: str, *, borrow: str | None = None) -> str:
    """A small bare repository in ``folder``, made without a process. Raises OSError."""
    made = tempfile.mkdtemp(prefix=SCRATCH_PREFIX, suffix=".scratch", dir=folder)
    for part in ("objects/info", "objects/pack", "refs/heads"):
        os.makedirs(os.path.join(made, part), mode=0o700)
    files = {"HEAD": b"ref: refs/heads/main\n", "config": b"[core]\n\trepositoryformatversion = 0\n\tbare = true\n"}
    if borrow is not None:
        files["objects/info/alternates"] = _quoted(os.path.join(borrow, "objects")) + b"\n"
    for name, data in files.items():
        with open(os.path.join(made, name), "xb") as file:
            file.write(data)
    return made


def _quoted(path: str) -> bytes:
    """As git quotes in C (quote.c): any byte may stand in a path."""
    inside = b"".join(
        bytes([byte]) if 0x20 <= byte < 0x7F and byte not in b'"\\' else b"\\%03o" % byte for byte in os.fsencode(path)
    )
    return b'"' + inside + b'"'


def remove_leftovers(state: str, older_than: float) -> None:
    """Scratch repositories of processes that were killed: those last changed before ``older_than`` (epoch seconds)."""
    try:
        with os.scandir(state) as entries:
            found = [
                entry.path
                for entry in entries
                if entry.name.startswith(SCRATCH_PREFIX)
                and entry.name.endswith(".scratch")
                and entry.stat(follow_symlinks=False).st_mtime < older_than
            ]
    except OSError:
        return
    for path in found:
        shutil.rmtree(path, ignore_errors=True)
