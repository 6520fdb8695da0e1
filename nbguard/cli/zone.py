"""The wall clock of whoever sits here, by the system's own rules; TZ and /etc/localtime are read by libc."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo


class LocalZone(tzinfo):
    """Local time as a zone: offsets of any instant, clock changes included."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        if moment is None:
            return timedelta(0)
        return moment.replace(tzinfo=None).astimezone().utcoffset() or timedelta(0)

    def dst(self, moment: datetime | None) -> timedelta | None:
        return None

    def tzname(self, moment: datetime | None) -> str:
        return "local" if moment is None else moment.replace(tzinfo=None).astimezone().tzname() or "local"

    def fromutc(self, moment: datetime) -> datetime:
        """The wall time of a UTC time; the second telling of a twice-told hour has ``fold`` 1."""
        there = moment.replace(tzinfo=UTC).astimezone()
        wall = there.replace(tzinfo=self, fold=0)
        return wall if self.utcoffset(wall) == there.utcoffset() else wall.replace(fold=1)


LOCAL = LocalZone()
