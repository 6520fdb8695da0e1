"""What `nbguard check --mirror URL` prints: every host that mirrors there, and who stalled."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from nbguard.cli.output import clean, print_json, say, table
from nbguard.clock import iso

if TYPE_CHECKING:
    from nbguard.app_peer import PeerPage
    from nbguard.cli.context import Context
    from nbguard.mirror.peer import Sighting


def show(context: Context, url: str, *, sends: bool, as_json: bool) -> int:
    """Look, tell people through this machine's own channels if it has any, print; the exit code. What is wrong goes to
    stderr, so that cron sends mail when there is something to say. Raises NbguardError."""
    from nbguard.app_peer import check_mirror, observation_of

    page = check_mirror(context, url)
    if sends and context.settings is not None and context.settings.channels:
        from nbguard.app_alert import tell

        tell(context, observation_of(page))
    if as_json:
        print_json(_fields(page))
    else:
        _print(page)
    return page.exit_code


def _print(page: PeerPage) -> None:
    rows = [("host", "heard of", "says")] if page.hosts else []
    rows += [(host.namespace, _heard(host), _says(host)) for host in page.hosts]
    for line in table(rows):
        sys.stdout.write(line + "\n")
    if page.answered and not page.hosts:
        sys.stdout.write("nobody mirrors there\n")
    for one in page.found:
        say(clean(f"problem: {one.problem.code}: {one.problem.message}"))
        say(f"hint:    {one.problem.hint}")


def _heard(host: Sighting) -> str:
    seconds = host.advanced_seconds
    if host.is_late:
        return "LATE"
    return (
        "just now"
        if seconds < 60
        else f"within {seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.0f} h"
    )


def _says(host: Sighting) -> str:
    if host.beat is None:
        return "(cannot be understood)"
    return host.beat.state or "nothing yet"


def _fields(page: PeerPage) -> dict[str, object]:
    return {
        "state": page.state,
        "mirror": page.mirror,
        "answered": page.answered,
        "hosts": [_host_fields(host) for host in page.hosts],
        "problems": [
            {
                "code": one.problem.code,
                "message": one.problem.message,
                "hint": one.problem.hint,
                "since": iso(one.problem.since),
                "subject": one.problem.subject,
                "weight": str(one.weight),
            }
            for one in page.found
        ],
    }


def _host_fields(host: Sighting) -> dict[str, object]:
    beat = host.beat
    return {
        "namespace": host.namespace,
        "late": host.is_late,
        "advanced_seconds_ago": round(host.advanced_seconds, 3),
        "host": beat.host if beat else None,
        "user": beat.user if beat else None,
        "install": beat.install if beat else None,
        "sequence": beat.sequence if beat else None,
        "state": beat.state if beat else None,
        "exit_code": beat.exit_code if beat else None,
        "at": iso(beat.at) if beat else None,
        "problems": [told.code for told in beat.problems] if beat else [],
        "version": beat.version if beat else None,
    }
