"""Reading back: what "verified" means for each way to reach a mirror.

The tips are always asked for after a push. Besides, some versions, new and old, are read back and their SHA-256 is
compared with that of the saved notebook: on a disk straight from the mirror's files, over a network by fetching those
few objects into a repository that has nothing else. A server that gives no single objects (an old one that speaks the
first protocol and runs nothing but git) leaves it at the tips and the heartbeat. What lies on a disk is read as a whole
once a week, and compared with its checksums; when a person asks, git checks besides that all of it hangs together.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from nbguard.errors import ReadBackFailed
from nbguard.git import GitFolder, find_git, hermetic_environment
from nbguard.mirror.addresses import Transport
from nbguard.mirror.child import MirrorTrouble, Patience, run_child
from nbguard.mirror.reading import DAMAGED_HINT, check_files
from nbguard.mirror.remote import FRUGAL, Remote, make_scratch

_MOST_DISK_BYTES = 64_000_000
_MOST_NETWORK_BYTES = 4_000_000
_READ_SECONDS = 600.0
_WHOLE_SECONDS = 14_400.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One version: ``name`` is ``commit:path`` in the archive, ``sha256`` and ``size`` are of the saved notebook."""

    name: str
    sha256: str
    size: int


def read_back(remote: Remote, samples: Sequence[Sample], *, archive: str, state: str) -> str:
    """Compare samples with what the mirror gives; how that was done. Raises ReadBackFailed, MirrorTrouble, Stopped."""
    path = remote.address.path
    if remote.address.transport is Transport.PATH and path is not None:
        chosen = _within(samples, _MOST_DISK_BYTES)
        names = [one.name.encode() for one in chosen]
        found = Patience(_READ_SECONDS).ask(path, lambda: GitFolder(path, FRUGAL).sha256_of(names))
        _compare(chosen, found)
        return _words(len(chosen))
    return _read_back_network(remote, _within(samples, _MOST_NETWORK_BYTES), archive=archive, state=state)


def _read_back_network(remote: Remote, samples: Sequence[Sample], *, archive: str, state: str) -> str:
    git = GitFolder(archive, FRUGAL)
    asked = "".join(f"{one.name}\n" for one in samples).encode()
    lines = git.ask("cat-file", "--batch-check", data=asked).decode("utf-8", "replace").splitlines()
    known = [(one, line.split()[0]) for one, line in zip(samples, lines, strict=False) if line.endswith(f" {one.size}")]
    if not known:
        return "tips"
    oids = sorted({oid for _, oid in known})
    scratch = make_scratch(state)
    try:
        if remote.fetch_into(scratch, oids) is not None and (
            remote.address.transport is not Transport.SSH or remote.fetch_into(scratch, oids, asking=True) is not None
        ):
            return "tips"
        _compare([one for one, _ in known], GitFolder(scratch).sha256_of([oid.encode() for _, oid in known]))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return _words(len(known))


def read_every_byte(path: str, *, stop: threading.Event) -> None:
    """Compare all that lies in a mirror that is a folder with its checksums, in little memory.

    Raises ReadBackFailed, MirrorTrouble.
    """
    try:
        Patience(_WHOLE_SECONDS).ask(path, lambda: check_files(path, stop.is_set))
    except OSError as error:
        raise MirrorTrouble(f"{path}: {error.strerror}", hint="see that its disk is in order") from error


def read_whole(path: str, *, state: str, stop: threading.Event) -> None:
    """Have git read every object of a mirror that is a folder. Raises ReadBackFailed, MirrorTrouble, Stopped."""
    settings = [part for setting in FRUGAL for part in ("-c", setting)]
    command = [find_git(), "-c", "safe.directory=*", "-c", "core.hooksPath=/dev/null", *settings, f"--git-dir={path}"]
    said = run_child(
        [*command, "fsck", "--full", "--no-dangling", "--no-progress"],
        environment=hermetic_environment(state),
        seconds=_WHOLE_SECONDS,
        stop=stop,
    )
    if said.status:
        lines = [line for line in (said.talk + said.out).splitlines() if line.strip()]
        first = "".join(c if c.isprintable() else "?" for c in (lines[0] if lines else f"git ended with {said.status}"))
        raise ReadBackFailed(f"the mirror is damaged: {first[:200]}", hint=DAMAGED_HINT)


def _within(samples: Sequence[Sample], most_bytes: int) -> list[Sample]:
    chosen, left = [], most_bytes
    for sample in samples:
        if sample.size <= left:
            chosen.append(sample)
            left -= sample.size
    return chosen


def _compare(samples: Sequence[Sample], found: Sequence[str | None]) -> None:
    for sample, digest in zip(samples, found, strict=True):
        if digest != sample.sha256:
            how = "with other bytes" if digest else "not at all"
            raise ReadBackFailed(f"a version ({sample.name.partition(':')[0][:12]}) came back {how}", hint=DAMAGED_HINT)


def _words(count: int) -> str:
    return f"tips and {count} version{'' if count == 1 else 's'}" if count else "tips"
