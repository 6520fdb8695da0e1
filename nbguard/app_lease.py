"""The composition root's page for the lease: state on a network home belongs to one machine at a time."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING

from nbguard.clock import SystemClock
from nbguard.errors import Busy
from nbguard.mirror.lease import Lease, this_machine
from nbguard.processes import boot_id
from nbguard.watch.mounts import read_mounts, remote_kind

if TYPE_CHECKING:
    from nbguard.cli.context import Context
    from nbguard.clock import Clock

_log = logging.getLogger(__name__)


def lease_of(context: Context, clock: Clock | None = None) -> Lease:
    """The lease on this installation's state."""
    state = context.places.state
    return Lease(
        state,
        this_machine(boot_id()),
        clock=clock or SystemClock(),
        wait=time.sleep,
        is_network=remote_kind(os.path.realpath(state), read_mounts()) is not None,
    )


def take_lease(context: Context) -> Lease:
    """Take it, for a daemon. Raises Busy while another machine has it. A disk that takes nothing keeps no daemon from
    its work: it is written as soon as that can be done."""
    lease = lease_of(context)
    try:
        lease.take()
    except OSError as error:
        _log.warning("the lease could not be written: %s", error)
    return lease


def give_back(lease: Lease) -> None:
    """The next daemon need not wait; harmless where it cannot be written, or another machine has it."""
    try:
        lease.release()
    except OSError as error:
        _log.warning("the lease could not be given back: %s", error)


def held_elsewhere(context: Context) -> bool:
    """Whether another machine has the lease, as far as is known here."""
    try:
        refuse_elsewhere(context)
    except Busy:
        return True
    return False


def refuse_elsewhere(context: Context, *, is_waiting: bool = False) -> None:
    """Raises Busy while another machine has the lease: for what writes to the archive itself. ``is_waiting``: since
    when it stands still is remembered, for we want it."""
    if not os.path.isdir(context.places.state):
        return
    lease_of(context).check(is_waiting=is_waiting)
