"""Tests that run as root, and what root must not be able to do in them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Generator
from contextlib import contextmanager

import pytest

_CAPABILITY_VERSION_3 = 0x20080522
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts, namespaces")


@contextmanager
def without_root_powers() -> Generator[None]:
    """This thread obeys permission bits, also when it is root's: nothing to do for anybody else."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    before, lowered = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
    if libc.capget(header, before) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    ctypes.memmove(lowered, before, ctypes.sizeof(before))
    lowered[0] &= ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
    if libc.capset(header, lowered) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    try:
        yield
    finally:
        if libc.capset(header, before) != 0:
            raise OSError(ctypes.get_errno(), "capset")
