"""Where a secret is, said in the configuration instead of the secret: ``env:NAME`` or ``file:PATH``."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from nbguard.alert.route import BadChannel
from nbguard.masking import is_elsewhere

_MAX_BYTES = 16_384


def resolve(address: str, environment: Mapping[str, str]) -> str:
    """The address itself. It is read once, when a channel is built: what changes later counts from the next start.

    Raises BadChannel (nothing there, or a file that others can read).
    """
    if address.startswith("env:"):
        name = address.removeprefix("env:")
        value = environment.get(name, "")
        if not value.strip():
            hint = "a service does not have the environment of your shell: file:PATH reaches it everywhere"
            raise BadChannel(f"{name} is not set in the environment", hint=hint, for_good=False)
        return _one_line(value, address)
    if is_elsewhere(address):
        return _one_line(_read(os.path.expanduser(address.removeprefix("file:"))), address)
    return address


def _read(path: str) -> str:
    hint = f"put the URL there, and: chmod 600 '{path}'"
    if not os.path.isabs(path):
        raise BadChannel(f"file:{path} is not an absolute path", hint="write it from / or ~")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise BadChannel(f"cannot read {path}: {error.strerror}", hint=hint, for_good=False) from None
    try:
        status = os.fstat(fd)
        wrong = (
            "is no file"
            if not stat.S_ISREG(status.st_mode)
            else "belongs to another user"
            if status.st_uid != os.getuid()
            else f"can be read by others ({status.st_mode & 0o777:04o})"
            if status.st_mode & 0o077
            else "is too large"
            if status.st_size > _MAX_BYTES
            else ""
        )
        if wrong:
            raise BadChannel(f"{path} {wrong}", hint=hint, for_good=False)
        raw = os.read(fd, _MAX_BYTES)
    except OSError as error:
        raise BadChannel(f"cannot read {path}: {error.strerror}", hint=hint, for_good=False) from None
    finally:
        os.close(fd)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BadChannel(f"{path} is not UTF-8", hint=hint, for_good=False) from None


def _one_line(value: str, address: str) -> str:
    value = value.strip()
    if not value or not value.isprintable():
        raise BadChannel(f"{address} does not hold one line with a URL", for_good=False)
    if is_elsewhere(value):
        raise BadChannel(f"{address} leads to another {value.partition(':')[0]}:", hint="put the URL itself there")
    return value
