"""A process that appends executed cells and packs without end, and acknowledges what is durable: meant to be killed.

python -m tests.archive.record_worker HOME FIRST ACKNOWLEDGED
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

from nbguard.archive.record_log import RecordSegments
from nbguard.archive.record_packing import RecordPacker
from nbguard.archive.repository import Archive
from nbguard.clock import SystemClock
from nbguard.errors import Busy
from nbguard.executed import ExecutedCell
from nbguard.places import find_places
from tests.archive.rig import NO_RESERVE


def work(home: str, first: int, acknowledged: str) -> None:
    """Until something ends it."""
    places, clock = find_places(home=home), SystemClock()
    log = RecordSegments(places.records, clock=clock, reserve=NO_RESERVE, most_bytes=2000)
    log.make()
    packer = RecordPacker(archive=Archive(places), log=log, clock=clock, reserve=NO_RESERVE)
    ack = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    line = first
    while True:
        for _ in range(line % 5 + 1):
            seen_at = datetime.now(UTC)
            log.append([ExecutedCell(generation="ab", session=1, line=line, source=f"x = {line}", seen_at=seen_at)])
            os.write(ack, b"%d\n" % line)
            line += 1
        try:
            packer.pack()
        except Busy:
            continue


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), sys.argv[3])
