"""Every failure nbguard can name: what happened, where, and what to do next.

The tree::

    NbguardError
    ├── UsageError            2   wrong usage
    ├── NothingMatched        1   no such notebook or version
    │   └── Ambiguous         1   several match; lists them
    ├── PartlyDone            3   some paths not kept, some sources unreadable
    ├── NoArchive            10   no archive, or it vanished
    ├── Busy                 11   archive locked, or a daemon already runs
    ├── BadConfiguration     78   configuration, or git too old
    ├── Refused               1   we will not do that (symlink, existing file, foreign folder)
    ├── ArchiveTrouble        1   git said no, or a version did not read back
    │   ├── ArchiveMoved          main was moved by someone else
    │   └── ReadBackFailed        what came back is not what was kept
    ├── ChangedMeanwhile      1   a file changed while it was copied; nothing was kept
    └── StorageTrouble        1   the disk said no; carries a problem code
"""

from __future__ import annotations

import errno
from typing import Final


class NbguardError(Exception):
    """A failure with a message for people, a hint what to do next, a machine code and an exit code."""

    exit_code: int = 1
    code: str = "failed"

    def __init__(self, message: str, *, hint: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code:
            self.code = code


class UsageError(NbguardError):
    """The words of the command are off; the hint shows how they go."""

    exit_code = 2
    code = "usage"


class NothingMatched(NbguardError):
    """No notebook or version answers the question."""

    code = "nothing-matched"


class Ambiguous(NothingMatched):
    """Several notebooks or versions match; the hint lists them."""

    code = "ambiguous"


class PartlyDone(NbguardError):
    """Some of it is done; the message names the rest."""

    exit_code = 3
    code = "partly-done"


class NoArchive(NbguardError):
    """There is no archive here, or there was one and it vanished."""

    exit_code = 10
    code = "archive-missing"


class Busy(NbguardError):
    """Somebody else holds the lock: another daemon, another packer."""

    exit_code = 11
    code = "busy"


class BadConfiguration(NbguardError):
    """The configuration cannot be used, or git is too old. Never treated as empty."""

    exit_code = 78
    code = "config-invalid"


class Refused(NbguardError):
    """Doing this could lose or disclose something, so it is not done."""

    code = "refused"


class ArchiveTrouble(NbguardError):
    """git refused, or the archive is not as it should be. Drafts stay in the spool."""

    code = "archive-damaged"


class ArchiveMoved(ArchiveTrouble):
    """The branch main was moved by someone else; nothing is built on it and nothing is unlinked."""

    code = "archive-moved"


class ReadBackFailed(ArchiveTrouble):
    """A version that git accepted did not come back byte for byte."""


class ChangedMeanwhile(NbguardError):
    """A file changed while it was being copied; nothing was kept of the mixture."""

    code = "changed-meanwhile"


class StorageTrouble(NbguardError):
    """The file system refused. ``code`` is one of no-space, no-inodes, read-only, io-error."""

    code = "io-error"


_HINTS: Final = {
    "no-space": "free some space; what could not be kept is retried by itself",
    "no-inodes": "delete some files (the file system has no inodes left); what could not be kept is retried by itself",
    "read-only": "make the file system writable again; what could not be kept is retried by itself",
    "io-error": "check the disk (dmesg, smartctl); what could not be kept is retried by itself",
}

_CODES: Final = {
    errno.ENOSPC: "no-space",
    errno.EDQUOT: "no-space",
    errno.EFBIG: "no-space",
    errno.EROFS: "read-only",
    errno.EACCES: "read-only",
    errno.EPERM: "read-only",
}


OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""It is the process or the machine that has no more to give: nothing is wrong with the file, nor with its disk."""


def is_of_the_machine(error: OSError) -> bool:
    """Whether a disk or a limit is at fault, and not whoever made the call."""
    return error.errno in OUT_OF_RESOURCES or error.errno == errno.EIO or error.errno in _CODES


def storage_trouble(error: OSError, doing: str, *, free_inodes: int | None = None) -> StorageTrouble:
    """Name an OSError met while writing our own files; ENOSPC with no inode left is ``no-inodes``."""
    code = _CODES.get(error.errno or 0, "io-error")
    if code == "no-space" and free_inodes == 0:
        code = "no-inodes"
    where = f" ({error.filename!r})" if error.filename else ""
    hint = _HINTS[code]
    if error.errno in OUT_OF_RESOURCES:
        hint = "allow more open files or memory (`ulimit -n`, `ulimit -v`); what could not be kept is retried by itself"
    return StorageTrouble(f"{doing}: {error.strerror or error}{where}", hint=hint, code=code)


def said(error: Exception) -> str:
    """What went wrong, in its own words; never empty."""
    return error.message if isinstance(error, NbguardError) else str(error) or type(error).__name__
