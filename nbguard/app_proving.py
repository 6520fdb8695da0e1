"""The composition root's page for proofs: what a full check does with spool, archive and catalog."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbguard.cli.context import Context
    from nbguard.health.proving import Provers


def provers_of(context: Context) -> Provers:
    """What a full check does on this machine; nothing is made where nbguard was never set up."""
    from nbguard.health.canary import write_and_read
    from nbguard.health.proving import Provers

    places = context.places
    has_state, has_archive = os.path.isdir(places.state), os.path.isfile(os.path.join(places.archive, "HEAD"))
    has_spool = has_state and (os.path.isdir(places.spool) or os.path.lexists(places.archive_marker))
    return Provers(
        canary=(lambda: _canary(context, places.spool)) if has_spool else None,
        emergency=(lambda: _canary(context, places.emergency)) if has_spool and places.emergency else None,
        archive_disk=(lambda: write_and_read(places.archive)) if has_archive else None,
        state_disk=(lambda: _state_disk(places.state)) if has_state else None,
        tip=(lambda: _read_tips(context)) if has_archive else None,
        drill=(lambda count, again: _drill(context, count, again)) if has_archive else None,
        connectivity=(lambda: _connect(places.archive)) if has_archive else None,
        archive=places.archive,
    )


def _state_disk(folder: str) -> None:
    from nbguard.clock import SystemClock
    from nbguard.health.canary import clear_leftovers, write_and_read

    clear_leftovers(folder, SystemClock().now().timestamp())
    write_and_read(folder)


def _canary(context: Context, folder: str) -> None:
    """Through the spool's own code, on the spool's own disk, in a folder where nobody looks for drafts."""
    from nbguard.errors import StorageTrouble
    from nbguard.health.canary import FOLDER, fly
    from nbguard.places import check_private

    if folder == context.places.emergency:
        from nbguard.durable import make_private_folder

        make_private_folder(folder)
        check_private(folder)
    elif not os.path.isdir(folder):  # whoever removed it: it is not made anew under the daemon
        raise StorageTrouble(f"{folder} is gone", hint="restart the daemon: it makes it anew", code="own-files-removed")
    fly(lambda: _Nest(context, os.path.join(folder, FOLDER)))


class _Nest:
    """The spool's code over a folder of its own."""

    def __init__(self, context: Context, folder: str) -> None:
        from nbguard.app import reserve_of
        from nbguard.archive.spool import Spool
        from nbguard.clock import SystemClock
        from nbguard.settings import Settings

        reserve = reserve_of(context.settings or Settings())
        self._spool = Spool(folder, clock=SystemClock(), install="canary", reserve=reserve)
        self._spool.make()
        self._spool.sweep_leftovers()
        for left in self._spool.drafts():
            self.forget(left.id)

    def keep(self, data: bytes) -> str:
        from nbguard.model import DraftKind, Trigger

        spool = self._spool
        draft = spool.draft(
            kind=DraftKind.VERSION,
            path="/canary.ipynb",
            moment=spool.moment(),
            trigger=Trigger.SNAPSHOT,
            root="/",
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )
        return spool.keep(draft, data).id

    def give_back(self, name: str) -> bytes | None:
        return self._spool.read(name)

    def forget(self, name: str) -> None:
        """Unlinked, and not set free to be written over: the next canary shall need room as a save does."""
        from nbguard.durable import unlink_quietly

        found = self._spool.find(name)
        if found is not None:
            unlink_quietly(found.path)


def _read_tips(context: Context) -> None:
    """Commit and tree of both branches, by one git. Raises ArchiveTrouble."""
    from nbguard.app import archive_of
    from nbguard.archive.repository import MAIN, RECORDS, RECORDS_VERIFIED, VERIFIED
    from nbguard.errors import ArchiveTrouble

    archive = archive_of(context)
    archive.require()
    objects = archive.git.cat_file()
    try:
        for branch, verified in ((MAIN, VERIFIED), (RECORDS, RECORDS_VERIFIED)):
            tip = archive.git.tip(branch)
            if tip is None:
                if archive.git.tip(verified) is not None:
                    raise ArchiveTrouble(f"{branch} is gone, or holds no commit", hint="nbguard doctor")
                continue
            commit = objects.read(tip.encode())
            if not commit.startswith(b"tree "):
                raise ArchiveTrouble(f"{branch} names something that is no commit", hint="nbguard doctor")
            objects.read(commit[5:45])
    finally:
        objects.close()


def _drill(context: Context, count: int, again: str | None) -> int:
    """Restore random old versions into a folder of ours and compare them with what was kept; how many there were.

    Raises DrillFailed, ArchiveTrouble, StorageTrouble, OSError.
    """
    from nbguard.app import open_store
    from nbguard.archive.library import ArchiveLibrary
    from nbguard.durable import make_private_folder
    from nbguard.errors import ArchiveTrouble
    from nbguard.health.proving import DrillFailed

    store = open_store(context)
    store.archive.require()
    store.folder.catch_up()
    library = ArchiveLibrary(catalog=store.catalog, archive=store.archive, spool=store.spool)
    chosen = [store.catalog.version(again)] if again else []
    versions = {found.id: found for found in (*chosen, *(store.catalog.sample() for _ in range(count))) if found}
    folder = os.path.join(context.places.state, "drill")
    make_private_folder(folder)
    try:
        for version in versions.values():
            if version.sha256 is None:
                continue
            try:
                data = library.read(version)
            except ArchiveTrouble as error:
                raise DrillFailed(error.message, hint=error.hint, version=version.id, code=error.code) from error
            _restore_and_compare(folder, data, version.id, version.sha256)
    finally:
        library.close()
        store.catalog.close()
        _clear(folder)
    return len(versions)


def _restore_and_compare(folder: str, data: bytes, identity: str, sha256: str) -> None:
    from nbguard.durable import replace_durably
    from nbguard.health.compare import digest_file
    from nbguard.health.proving import DrillFailed

    path = os.path.join(folder, "restored.ipynb")
    replace_durably(path, data)
    if digest_file(path) != sha256:
        raise DrillFailed(
            f"version {identity[:10]} was restored as something else", hint="nbguard doctor", version=identity
        )


def _clear(folder: str) -> None:
    from nbguard.durable import unlink_quietly

    try:
        for name in os.listdir(folder):
            unlink_quietly(os.path.join(folder, name))
        os.rmdir(folder)
    except OSError:
        return  # the next drill begins by writing over it


def _connect(archive: str) -> None:
    from nbguard.health.doctor import check_archive

    check_archive(archive)
