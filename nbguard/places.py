"""Where our own files live; the only place that asks platformdirs."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from nbguard.durable import read_plain
from nbguard.errors import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Absolute paths of everything we own. ``home`` is NBGUARD_HOME, or None."""

    home: str | None
    config: str
    archive: str
    spool: str
    state: str
    emergency: str

    @property
    def catalog(self) -> str:
        return os.path.join(self.state, "catalog.sqlite")

    @property
    def heartbeat(self) -> str:
        return os.path.join(self.state, "heartbeat.json")

    @property
    def daemon_lock(self) -> str:
        return os.path.join(self.state, "daemon.lock")

    @property
    def archive_marker(self) -> str:
        """Exists once an archive was made here; holds the archive id."""
        return os.path.join(self.state, "archive-made")

    @property
    def restores(self) -> str:
        """One JSON line per restore in place: what `undo` reads."""
        return os.path.join(self.state, "restores.jsonl")

    @property
    def log_file(self) -> str:
        return os.path.join(self.state, "nbguard.log")

    @property
    def records(self) -> str:
        """Executed cells, links and runs that are not in the archive yet: segments of JSON lines."""
        return os.path.join(self.spool, "records")

    @property
    def recorded(self) -> str:
        """Recorded outputs, a file a day; pruned by age and size."""
        return os.path.join(self.spool, "recorded")

    @property
    def databases(self) -> str:
        """Whole copies of history databases."""
        return os.path.join(self.spool, "databases")

    @property
    def executed_index(self) -> str:
        """The index over all records; disposable, as the catalog."""
        return os.path.join(self.state, "executed.sqlite")

    @property
    def notice(self) -> str:
        """The line that prompts and notebooks show; not there when all is well."""
        return os.path.join(self.state, "notice")

    @property
    def stop(self) -> str:
        """Why the daemon was last stopped by nbguard itself (stops.py)."""
        return os.path.join(self.state, "stop.json")

    @property
    def service_marker(self) -> str:
        """Exists while a service is installed: a service that then does not run is a finding."""
        return os.path.join(self.state, "service-installed")

    def own_folders(self) -> tuple[str, ...]:
        """Folders that are never watched."""
        return (self.archive, self.spool, self.state, self.emergency, *((self.home,) if self.home else ()))


def find_places(*, home: str | None, config: str | None = None) -> Places:
    """Places for this user: under ``home`` (NBGUARD_HOME) if given, else where the platform keeps such things."""
    if home:
        base = os.path.abspath(os.path.expanduser(home))
        found = Places(
            home=base,
            config=os.path.join(base, "config.toml"),
            archive=os.path.join(base, "archive.git"),
            spool=os.path.join(base, "spool"),
            state=os.path.join(base, "state"),
            emergency=os.path.join(base, "emergency"),
        )
    else:
        import platformdirs

        data = platformdirs.user_data_dir("nbguard", appauthor=False)
        state = platformdirs.user_state_dir("nbguard", appauthor=False)
        found = Places(
            home=None,
            config=os.path.join(platformdirs.user_config_dir("nbguard", appauthor=False), "config.toml"),
            archive=os.path.join(data, "archive.git"),
            spool=os.path.join(data, "spool"),
            state=state,
            emergency="",
        )
        found = replace(found, emergency=_outside_home(found))
    return replace(found, config=os.path.abspath(config)) if config else found


def _outside_home(places: Places) -> str:
    """/var/tmp/nbguard-UID-ARCHIVEID: survives a wiped HOME; the archive id keeps two archives apart."""
    try:
        archive_id = read_plain(places.archive_marker, 4_096).decode("ascii").strip()[:12]
    except (OSError, ValueError):
        archive_id = ""
    if not archive_id.isalnum():  # it becomes a part of a path
        archive_id = "new"
    return choose_outside(open_to_all(), f"nbguard-{os.getuid()}-{archive_id}")


def open_to_all() -> str:
    """The folder outside HOME in which everybody may make folders, and that outlives a restart of the machine."""
    base = "/var/tmp"
    if not os.path.isdir(base):
        import tempfile

        base = tempfile.gettempdir()
    return base


def last_resort() -> str:
    """Where the service's alert leaves its notes when the emergency place is gone as well."""
    return os.path.join(open_to_all(), f"nbguard-{os.getuid()}-alerts")


def choose_outside(base: str, name: str) -> str:
    """The folder of ours called ``name`` in ``base``, where anybody may have made one of that name before us.

    Then it is one called ``name-…`` that is ours already, else such a name that nobody can foresee. Nothing is made.
    """
    wanted = os.path.join(base, name)
    if is_private(wanted, absent=True):
        return wanted
    try:
        others = sorted(found for found in os.listdir(base) if found.startswith(f"{name}-"))
    except OSError:
        others = []
    for other in others:
        if is_private(os.path.join(base, other)):
            return os.path.join(base, other)
    return f"{wanted}-{os.urandom(4).hex()}"


def is_private(folder: str, *, absent: bool = False) -> bool:
    """Whether a folder is ours and nobody else's; ``absent`` is the answer for one that is not there."""
    try:
        check_private(folder)
    except FileNotFoundError:
        return absent
    except (OSError, Refused):
        return False
    return True


def check_private(folder: str) -> None:
    """Refuse a folder of ours that somebody else could have prepared: not ours, a symlink, or open to others."""
    status = os.lstat(folder)
    kind = status.st_mode & 0o170000
    wrong = (
        "is a symlink"
        if kind == 0o120000
        else "is no folder"
        if kind != 0o040000
        else "belongs to another user"
        if status.st_uid != os.getuid()
        else "can be read by others"
        if status.st_mode & 0o077
        else ""
    )
    if wrong:
        raise Refused(f"{folder} {wrong}", hint="move it away; nbguard makes its own, readable by you alone")
