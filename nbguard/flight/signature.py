"""Whether a message was signed with a kernel's key (Jupyter messaging protocol, "The Wire Protocol")."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable


def is_signed(key: bytes, scheme: str, signature: bytes, frames: Iterable[bytes | memoryview]) -> bool:
    """Whether ``signature`` (hex) is the key's over header, parent, metadata and content.

    A kernel without a key signs nothing, and anything is accepted. A scheme that is not ``hmac-HASH`` with a hash that
    this Python has accepts nothing.
    """
    if not key:
        return True
    name = scheme.removeprefix("hmac-")
    if name == scheme or name not in hashlib.algorithms_available:
        return False
    try:
        seal = hmac.new(key, digestmod=name)
        for frame in frames:
            seal.update(frame)
        return hmac.compare_digest(seal.hexdigest().encode("ascii"), signature)
    except (ValueError, TypeError):
        return False  # a hash of variable length, or one that is switched off on this machine
