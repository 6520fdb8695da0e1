"""Which version is meant: decisions over the versions of one notebook, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

from nbguard.errors import Ambiguous, NothingMatched
from nbguard.model import Status, Version
from nbguard.recover.when import LastGood, Named, Nth, Until, When
from nbguard.recover.wording import listed, local, named


def is_good(version: Version) -> bool:
    """Whether a version is as it should be: ``ok``, or emptied on purpose."""
    return version.status is Status.OK or (version.status is Status.EMPTIED and version.accepted)


def pick(versions: Sequence[Version], when: When, zone: tzinfo) -> Version:
    """The version that ``when`` means; it may be a tombstone. Raises NothingMatched, Ambiguous."""
    if not versions:
        raise NothingMatched("nothing was kept of this notebook", hint="see `nbguard list`")
    match when:
        case Nth(row):
            return _nth(versions, row)
        case LastGood():
            return _last_good(versions, zone)
        case Until():
            return _until(versions, when, zone)
        case Named(prefix, otherwise):
            return _named(versions, prefix, otherwise, zone)


def pick_with_bytes(versions: Sequence[Version], when: When, zone: tzinfo) -> Version:
    """As :func:`pick`, never a tombstone. Raises NothingMatched with the version before it as hint, Ambiguous."""
    found = pick(versions, when, zone)
    if found.status is not Status.DELETED:
        return found
    position = next(row for row, version in enumerate(versions) if version.id == found.id)
    before = next(
        (row for row in range(position + 1, len(versions)) if versions[row].status is not Status.DELETED), None
    )
    raise NothingMatched(
        f"the notebook was deleted then ({local(found.saved_at, zone)})",
        hint="" if before is None else f"its last version before that is ~{before}: {named(versions[before], zone)}",
    )


def newest_with_bytes(versions: Sequence[Version]) -> Version:
    """The newest version that is not a tombstone. Raises NothingMatched."""
    for version in versions:
        if version.status is not Status.DELETED:
            return version
    raise NothingMatched("no bytes were kept of this notebook", hint="see `nbguard list`")


def emptied_now(versions: Sequence[Version], zone: tzinfo) -> Version:
    """The present state, if it is held to be emptied by accident. Raises NothingMatched."""
    latest = next((version for version in versions if version.tip), None)
    if latest is None or latest.status is not Status.EMPTIED:
        state = "there is nothing of it" if latest is None else f"its present state is {named(latest, zone)}"
        raise NothingMatched("this notebook is not marked as emptied", hint=f"{state}; nothing needs to be accepted")
    return latest


def pick_to_restore(versions: Sequence[Version], sha256_on_disk: str | None, zone: tzinfo) -> Version:
    """The newest good version that differs from what is on disk (None: nothing is). Raises NothingMatched."""
    good = [version for version in versions if is_good(version)]
    for version in good:
        if version.sha256 != sha256_on_disk:
            return version
    if good:
        raise NothingMatched(
            "every good version of this notebook is what is on disk already", hint="nothing needs to be restored"
        )
    return _last_good(versions, zone)


def what_there_is(versions: Sequence[Version], zone: tzinfo) -> str:
    """The span of what was kept, for messages."""
    newest, oldest = versions[0], versions[-1]
    if len(versions) == 1:
        return f"there is one version: {named(newest, zone)}"
    return f"there are {len(versions)} versions, from {local(oldest.saved_at, zone)} to {local(newest.saved_at, zone)}"


def _nth(versions: Sequence[Version], row: int) -> Version:
    if row < len(versions):
        return versions[row]
    count = f"{len(versions)} version{'s' if len(versions) > 1 else ''}"
    raise NothingMatched(f"there is no ~{row}: {count}", hint=f"the oldest is ~{len(versions) - 1}")


def _last_good(versions: Sequence[Version], zone: tzinfo) -> Version:
    for version in versions:
        if is_good(version):
            return version
    with_bytes = next((row for row, v in enumerate(versions) if v.status is not Status.DELETED), None)
    hint = what_there_is(versions, zone)
    if with_bytes is not None:
        hint += f"\nthe newest with bytes is ~{with_bytes}: {named(versions[with_bytes], zone)}"
    raise NothingMatched("no version of this notebook is ok", hint=hint)


def _until(versions: Sequence[Version], when: Until, zone: tzinfo) -> Version:
    for version in versions:
        if version.saved_at <= when.instant:
            return version
    raise NothingMatched(
        f"nothing was kept of this notebook by {local(when.instant, zone)}", hint=what_there_is(versions, zone)
    )


def _named(versions: Sequence[Version], prefix: str, otherwise: Until | None, zone: tzinfo) -> Version:
    found = [version for version in versions if version.id.lower().startswith(prefix)]
    if len(found) == 1:
        return found[0]
    if found:
        raise Ambiguous(
            f"{len(found)} versions begin with {prefix}", hint=listed(named(version, zone) for version in found)
        )
    if otherwise is not None:
        return _until(versions, otherwise, zone)
    raise NothingMatched(f"no version of this notebook begins with {prefix}", hint=what_there_is(versions, zone))
