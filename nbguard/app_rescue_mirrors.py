"""The composition root's page for configured mirrors as a source of rescue: read like an archive, never written to."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nbguard.errors import NbguardError, said
from nbguard.rescue.findings import Finding, Look, SourceName, Unavailable, Wanted

if TYPE_CHECKING:
    from nbguard.archive.executed_library import ExecutedArchive
    from nbguard.archive.library import ArchiveLibrary
    from nbguard.cli.context import Context
    from nbguard.executed import Link
    from nbguard.mirror.addresses import Address
    from nbguard.mirror.there import HostRefs
    from nbguard.settings import Mirror


class Mirrors:
    """The mirrors of the configuration. A branch that our own archive holds whole is not looked at a second time.

    One in a folder is read where it lies, without a copy of its objects; of one elsewhere the branches are fetched.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._opened: list[ArchiveLibrary | ExecutedArchive] = []
        self._folders: list[str] = []

    def sources(self) -> list[_OneMirror]:
        """A source for each mirror; nothing is asked of it yet."""
        try:
            settings = self._context.settings
        except NbguardError:
            return []  # a broken configuration tells of no mirror, and rescue works all the same
        return [_OneMirror(mirror, self._holdings) for mirror in (settings.mirrors if settings is not None else ())]

    def links(self) -> list[Link]:
        """Every link in what was opened so far."""
        from nbguard.app_rescue_refuge import links_in

        return links_in(self._opened)

    def close(self) -> None:
        """End what was opened, and remove what was made for it."""
        for opened in self._opened:
            opened.close()
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)

    def _holdings(self, mirror: Mirror) -> Iterator[_Holding]:
        """What it has of this user's installations on this machine; of all where there is none of these.

        Raises NbguardError, OSError.
        """
        from nbguard.mirror.addresses import parse_address
        from nbguard.mirror.layout import namespace_of
        from nbguard.mirror.reader import Mirrored
        from nbguard.mirror.there import hosts_in

        home = os.path.expanduser("~")
        address = parse_address(mirror.url, home=home)
        mirrored = Mirrored(address, environment=os.environ, home=home)
        hosts = hosts_in(mirrored.refs())
        here = namespace_of(socket.gethostname(), _user(), "0" * 8).removesuffix("0" * 8)
        ours = [host for name, host in hosts.items() if name.startswith(here) or name.endswith(f"-{self._install()}")]
        for host in ours or hosts.values():
            branches = self._missing_here(host)
            if branches:
                context = self._as_home(address, mirrored.fetch, branches, host)
                yield _Holding(context, self._opened)

    def _install(self) -> str:
        """This installation's id; '/' where it was lost, which no namespace ends with."""
        try:
            with open(os.path.join(self._context.places.state, "install-id"), encoding="ascii") as file:
                return file.read(200).strip() or "/"
        except (OSError, UnicodeDecodeError):
            return "/"

    def _missing_here(self, host: HostRefs) -> dict[str, tuple[str, str]]:
        """Refs here of branches that our own archive does not hold: their names there, and their commits."""
        from nbguard.app import archive_of
        from nbguard.archive.repository import MAIN, RECORDS
        from nbguard.mirror.layout import Namespace

        archive, names = archive_of(self._context), Namespace(host.namespace)
        found = {MAIN: (names.main, host.main), RECORDS: (names.records, host.records)}
        there = {ref: (name, commit) for ref, (name, commit) in found.items() if commit is not None}
        if not archive.exists():
            return there
        tips = {MAIN: archive.tip(), RECORDS: archive.git.tip(RECORDS)}
        return {
            ref: (name, commit)
            for ref, (name, commit) in there.items()
            if (tip := tips[ref]) is None or not archive.contains(commit, tip)
        }

    def _as_home(
        self,
        address: Address,
        fetch: Callable[[str, dict[str, str]], None],
        branches: dict[str, tuple[str, str]],
        host: HostRefs,
    ) -> Context:
        """The branches as the archive of an installation of its own, in a temporary folder."""
        from nbguard.archive.repository import lay_out
        from nbguard.git import GitFolder

        home = tempfile.mkdtemp(prefix="nbguard-rescue-")
        self._folders.append(home)
        folder = os.path.join(home, "archive.git")
        os.mkdir(os.path.join(home, "state"), 0o700)
        lay_out(folder, "0" * 32)
        objects = None if address.path is None else _objects_in(address.path)
        if objects is None:
            fetch(folder, {name: ref for ref, (name, _) in branches.items()})
        else:
            with open(os.path.join(folder, "objects", "info", "alternates"), "xb") as file:
                file.write(os.fsencode(objects) + b"\n")
            for ref, (_, commit) in branches.items():
                GitFolder(folder).ask("update-ref", ref, commit)
        return replace(self._context, home=home, config=None)


@dataclass(frozen=True, slots=True)
class _OneMirror:
    """One mirror as a source."""

    mirror: Mirror
    holdings: Callable[[Mirror], Iterator[_Holding]]

    @property
    def name(self) -> SourceName:
        return SourceName.MIRROR

    def look(self, wanted: Wanted) -> Look:
        """What it has that our own archive has not; why it cannot be asked."""
        found: list[Finding] = []
        trouble: list[Unavailable] = []
        try:
            for holding in self.holdings(self.mirror):
                for look in holding.looks(self.mirror.name, wanted):
                    found += look.found
                    trouble += look.unavailable
        except (NbguardError, OSError, sqlite3.Error) as error:
            trouble.append(Unavailable(self.name, f"{self.mirror.name}: {said(error)}"))
        return Look(tuple(found), tuple(trouble))


class _Holding:
    """What a mirror has of one installation, opened when it is asked."""

    def __init__(self, context: Context, opened: list[ArchiveLibrary | ExecutedArchive]) -> None:
        self._context = context
        self._opened = opened

    def looks(self, name: str, wanted: Wanted) -> Iterator[Look]:
        """Versions, then executed cells."""
        from nbguard.rescue.executed import KeptSessions
        from nbguard.rescue.kept import Kept

        yield Kept(self._library, lambda: (), SourceName.MIRROR).look(wanted)
        yield KeptSessions(self._executed, name, SourceName.MIRROR).look(wanted)

    def _library(self) -> ArchiveLibrary:
        from nbguard.app import open_library

        library = open_library(self._context)
        self._opened.append(library)
        return library

    def _executed(self) -> ExecutedArchive:
        from nbguard.app_history import executed_library

        library = executed_library(self._context)
        self._opened.append(library)
        return library


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _objects_in(path: str) -> str | None:
    """The folder of a repository's objects; None where it is laid out otherwise, and git must be asked."""
    folder = os.path.join(path, "objects")
    return folder if os.path.isdir(folder) and "\n" not in folder else None
