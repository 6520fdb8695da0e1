"""The composition root's page for a new mirror: whether it may be there, making it, what is written, a proposal."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbguard.errors import UsageError
from nbguard.mirror.addresses import Address, parse_address
from nbguard.mirror.folder import check_folder, is_vacant, make_mirror, refuse_within, shares_file_system
from nbguard.mirror.layout import plain_name
from nbguard.settings import Mirror, Settings

if TYPE_CHECKING:
    from nbguard.cli.context import Context


@dataclass(frozen=True, slots=True)
class Spot:
    """A disk on which a mirror could be: where, and how many bytes are free there."""

    path: str
    free_bytes: int


def new_mirror(context: Context, text: str, name: str | None) -> tuple[Mirror, Address]:
    """A mirror that may be added: its address is sound, and not in the way of anything of ours.

    Raises UsageError, Refused.
    """
    address = parse_address(text, home=os.path.expanduser("~"), folder=os.getcwd())
    settings, places = context.settings or Settings(), context.places
    if address.path is not None:
        ours = [("the archive", places.archive), ("the spool", places.spool), ("the state folder", places.state)]
        ours += [("nbguard's folder", places.home)] if places.home else []
        ours += [("the emergency place", places.emergency)] if places.emergency else []
        refuse_within(address.path, [*ours, *(("a watched folder", root) for root in settings.roots)])
    url = address.path or text
    taken = {mirror.name for mirror in settings.mirrors}
    if url in {mirror.url for mirror in settings.mirrors}:
        raise UsageError(f"{address.shown} is a mirror already", hint="see `nbguard mirror list`")
    if name is not None and name in taken:
        raise UsageError(f"there is a mirror {name!r} already", hint="give another --name")
    return Mirror(name=name or _free_name(address, taken), url=url), address


def configured_name(context: Context, text: str) -> str | None:
    """The name of the mirror that is at this address already. Raises UsageError."""
    address = parse_address(text, home=os.path.expanduser("~"), folder=os.getcwd())
    for mirror in (context.settings or Settings()).mirrors:
        if mirror.url in (address.path or text, text):
            return mirror.name
    return None


def lies_vacant(address: Address) -> bool:
    """Whether a mirror is to be made there first. Raises UsageError when not even the folder above it is there,
    MirrorTrouble and Refused when something else is there."""
    path = address.path
    if path is None:
        return False
    if os.path.ismount(path):
        hint = f"name a folder on it: {os.path.join(path, 'nbguard.git')}"
        raise UsageError(f"{path} is a whole disk", hint=hint)
    if not is_vacant(path):
        check_folder(path)
        return False
    if not os.path.isdir(os.path.dirname(path)):
        raise UsageError(
            f"{os.path.dirname(path)} is not there", hint="mount the disk, or make the folder, and ask again"
        )
    return True


def is_on_the_same_disk(context: Context, address: Address) -> bool:
    """Whether what destroys the archive's file system destroys this copy as well."""
    return address.path is not None and shares_file_system(address.path, (context.places.archive,))


def is_open_to_others(address: Address) -> bool:
    """Whether other users of this machine can read a mirror at a path (some file systems know no owners)."""
    return address.path is not None and bool(os.stat(address.path).st_mode & 0o077)


def make_there(address: Address) -> None:
    """Make a bare, private repository at the path. Raises StorageTrouble, ArchiveTrouble."""
    assert address.path is not None
    make_mirror(address.path)


def change_configuration(context: Context, change: Callable[[bytes, str], bytes]) -> None:
    """Put other bytes in the configuration's place, durably. Raises BadConfiguration, StorageTrouble."""
    from nbguard.places import find_places
    from nbguard.service.setup import write_configuration
    from nbguard.settings_writing import minimal_configuration

    path = find_places(home=context.home, config=context.config).config
    if context.settings is None:
        before = minimal_configuration(())
    else:
        with open(path, "rb") as file:
            before = file.read()
    write_configuration(path, change(before, path))
    context.__dict__.pop("settings", None)
    context.look_again()


def dies_together(context: Context) -> bool:
    """Whether archive and notebooks share a file system, and there is no mirror."""
    settings = context.settings or Settings()
    return not settings.mirrors and shares_file_system(context.places.archive, settings.roots)


def spot_for_mirror(context: Context) -> Spot | None:
    """Another mounted disk, writable and with room for a mirror, that holds neither archive nor notebooks."""
    from nbguard.durable import free_space
    from nbguard.watch.mounts import is_remote, read_mounts

    settings, places = context.settings or Settings(), context.places
    taken = {_device(path) for path in (places.archive, places.state, os.path.expanduser("~"), "/", *settings.roots)}
    needed = _LEAST_FREE_BYTES + 3 * _bytes_in(os.path.join(places.archive, "objects", "pack"))
    best: Spot | None = None
    for mount in read_mounts():
        if mount.kind not in _DISKS or is_remote(mount.kind) or mount.point.startswith(_SYSTEM):
            continue
        try:
            if os.stat(mount.point).st_dev in taken or not os.access(mount.point, os.W_OK | os.X_OK):
                continue
            free = free_space(mount.point)[0]
        except OSError:
            continue
        if free >= needed and (best is None or free > best.free_bytes):
            best = Spot(os.path.join(mount.point, f"nbguard-{plain_name(socket.gethostname())}.git"), free)
    return best


_DISKS = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "vfat", "exfat", "ntfs", "ntfs3"})
_SYSTEM = ("/boot", "/efi", "/snap", "/etc", "/usr", "/proc", "/sys", "/dev", "/run/lock", "/var/lib")
_LEAST_FREE_BYTES = 1_000_000_000


def _bytes_in(folder: str) -> int:
    try:
        with os.scandir(folder) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    except OSError:
        return 0


def _device(path: str) -> int | None:
    while path and path != "/":
        try:
            return os.stat(path).st_dev
        except OSError:
            path = os.path.dirname(path)
    try:
        return os.stat("/").st_dev
    except OSError:
        return None


def _free_name(address: Address, taken: set[str]) -> str:
    if address.path is not None:
        folder, last = os.path.split(address.path)
        wanted = plain_name(last.removesuffix(".git")) if last not in ("nbguard.git", "mirror.git") else ""
        wanted = wanted or plain_name(os.path.basename(folder))
    else:
        after = address.url.partition("://")[2] or address.url
        wanted = plain_name(after.partition("/")[0].rpartition("@")[2].partition(":")[0])
    wanted = wanted or "mirror"
    return next(name for name in (wanted, *(f"{wanted}-{n}" for n in range(2, 10_000))) if name not in taken)
