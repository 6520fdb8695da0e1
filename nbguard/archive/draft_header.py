"""The header line of a draft: JSON, ``v: 1``; names that are not UTF-8 as base64 beside a null."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from base64 import b64decode, b64encode
from collections.abc import Iterator

from nbguard.clock import from_iso, iso
from nbguard.errors import OUT_OF_RESOURCES, ArchiveTrouble, storage_trouble
from nbguard.model import Draft, DraftKind, Moment, Signature, Trigger

FORMAT = 1
_LONGEST_HEADER = 1 << 20
_CHUNK = 1 << 20
_WORD = re.compile("[0-9A-Za-z._-]+")


def header_of(draft: Draft) -> bytes:
    """One line of ASCII JSON, without the newline."""
    signature = draft.signature
    fields: dict[str, object] = {
        "v": FORMAT,
        "id": draft.id,
        "kind": draft.kind,
        **_name("path", draft.path),
        "moment": str(draft.moment),
        "boot": draft.boot,
        "observed_at": iso(draft.observed_at),
        "trigger": draft.trigger,
        **_name("root", draft.root),
        "install": draft.install,
        "bytes": draft.size,
        "sha256": draft.sha256,
        "stat": signature
        and (signature.device, signature.inode, signature.size, signature.mtime_ns, signature.ctime_ns),
    }
    if not draft.tip:
        fields["tip"] = False
    if draft.renamed_from is not None:
        fields.update(_name("renamed_from", draft.renamed_from))
    if draft.about is not None:
        fields["about"] = draft.about
    return json.dumps(fields, separators=(",", ":")).encode("ascii")


def draft_of(line: bytes) -> Draft:
    """The reverse of :func:`header_of`. Raises ArchiveTrouble."""
    try:
        fields = json.loads(line)
        if fields["v"] > FORMAT:
            raise ArchiveTrouble(
                f"a draft has format {fields['v']}, this nbguard reads {FORMAT}", hint="update nbguard; nothing is lost"
            )
        stat = fields.get("stat")
        draft = Draft(
            id=fields["id"],
            kind=DraftKind(fields["kind"]),
            path=_named(fields, "path") or "",
            moment=Moment.parse(fields["moment"]),
            boot=fields["boot"],
            observed_at=from_iso(fields["observed_at"]),
            trigger=Trigger(fields["trigger"]),
            root=_named(fields, "root") or "",
            install=fields["install"],
            size=fields["bytes"],
            sha256=fields["sha256"],
            signature=Signature(*stat) if stat else None,
            tip=fields.get("tip", True),
            renamed_from=_named(fields, "renamed_from"),
            about=fields.get("about"),
        )
        _check(draft)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ArchiveTrouble(f"a draft's header is not readable: {error!r}", hint="see `nbguard doctor`") from error
    return draft


def _check(draft: Draft) -> None:
    """Raises ValueError, OverflowError or TypeError: what is written to the archive must be sound for good."""
    draft.moment.sortable()
    for path in (draft.path, draft.root, draft.renamed_from):
        if path is not None and (not path.startswith("/") or "\0" in path):
            raise ValueError(f"{path!r} is not an absolute path")
    if not draft.path.strip("/"):
        raise ValueError("the root folder is not a notebook")
    if not isinstance(draft.size, int) or draft.size < 0:
        raise ValueError(f"{draft.size!r} bytes")
    for word in (draft.id, draft.boot, draft.install, draft.about or "-", draft.sha256 or "-"):
        if not _WORD.fullmatch(word):
            raise ValueError(f"{word!r} is not an id")


def file_name(draft: Draft) -> str:
    """A name that sorts by the order of observation and ends with the id."""
    return f"{draft.moment.sortable().hex()}-{draft.id}"


class OpenDraft:
    """A draft in the spool: its header, and its bytes.

    Raises FileNotFoundError when it was packed meanwhile, ArchiveTrouble when it is not a whole draft,
    StorageTrouble when this process may open no more files.
    """

    def __init__(self, path: str) -> None:
        try:
            self._file = open(path, "rb", opener=_at_once)  # noqa: SIM115 - closed by close(), this is the context
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno in OUT_OF_RESOURCES:
                raise storage_trouble(error, "cannot read the spool") from error  # that says nothing of this draft
            raise _unreadable(path, error.strerror or "it cannot be opened") from error
        try:
            self.draft, self.offset = self._head(path)
        except BaseException:
            self._file.close()
            raise

    def _head(self, path: str) -> tuple[Draft, int]:
        try:
            status = os.fstat(self._file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _unreadable(path, "it is not a file")
            size = status.st_size
            line = self._file.readline(_LONGEST_HEADER)
        except OSError as error:
            raise _unreadable(path, error.strerror or "it cannot be read") from error
        if not line.endswith(b"\n"):
            raise _unreadable(path, "it has no header")
        draft = draft_of(line)
        if size - len(line) != draft.size:
            raise _unreadable(path, f"it has {size - len(line)} bytes of {draft.size}")
        return draft, len(line)

    def data(self) -> bytes:
        """The notebook's bytes, checked against the header. Raises ArchiveTrouble."""
        try:
            data = os.pread(self._file.fileno(), self.draft.size, self.offset)
        except OSError as error:
            raise _unreadable(self.draft.id, error.strerror or "it cannot be read") from error
        if self.draft.sha256 is not None and hashlib.sha256(data).hexdigest() != self.draft.sha256:
            raise ArchiveTrouble(
                f"draft {self.draft.id} does not hold what was kept", hint="check the disk; see `nbguard doctor`"
            )
        return data

    def chunks(self) -> Iterator[bytes]:
        """The notebook's bytes piece by piece, unchecked. Raises ValueError when they cannot be read."""
        try:
            self._file.seek(self.offset)
            while chunk := self._file.read(_CHUNK):
                yield chunk
        except OSError as error:
            raise ValueError(error.strerror or "it cannot be read") from error

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> OpenDraft:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _at_once(path: str, flags: int) -> int:
    """Open without waiting for whoever writes into a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def bytes_unchecked(path: str, draft: Draft, offset: int) -> bytes:
    """What lies in a draft whose header was read before. Raises FileNotFoundError, ArchiveTrouble."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(fd, draft.size, offset)
        finally:
            os.close(fd)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable(path, error.strerror or "it cannot be read") from error


def _unreadable(path: str, why: str) -> ArchiveTrouble:
    return ArchiveTrouble(f"draft {path} is not readable: {why}", hint="check the disk; see `nbguard doctor`")


def _name(key: str, path: str) -> dict[str, str | None]:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return {key: None, f"{key}_b64": b64encode(os.fsencode(path)).decode("ascii")}
    return {key: path}


def _named(fields: dict[str, object], key: str) -> str | None:
    plain = fields.get(key)
    if isinstance(plain, str):
        return plain
    encoded = fields.get(f"{key}_b64")
    return os.fsdecode(b64decode(encoded)) if isinstance(encoded, str) else None
