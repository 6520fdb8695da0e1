"""A process that keeps and packs without end, and acknowledges what is durable: meant to be killed or to lose power.

    python -m tests.archive.worker HOME SEED ACKNOWLEDGED SHARE

SHARE is the share of saves that are large enough to be streamed.

One line per acknowledged version in the file ACKNOWLEDGED (which lies elsewhere): its id and sha256.
"""

from __future__ import annotations

import os
import random
import sys

from nbguard.archive.catalog import Catalog
from nbguard.archive.folding import Folder
from nbguard.archive.maintenance import Maintenance, count_packs, is_due
from nbguard.archive.packer import Packer
from nbguard.archive.repository import Archive
from nbguard.archive.spool import Spool
from nbguard.clock import SystemClock
from nbguard.errors import Busy
from nbguard.model import DraftKind, Trigger
from nbguard.places import find_places
from tests.archive.rig import NO_RESERVE, judge, measure_file
from tests.helpers import notebook_bytes


def work(home: str, seed: int, acknowledged: str, share: float) -> None:
    """Until something ends it."""
    import hashlib

    chance = random.Random(seed)
    places = find_places(home=home)
    archive = Archive(places)
    spool = Spool(places.spool, clock=SystemClock(), install="worker", reserve=NO_RESERVE)
    spool.make()
    spool.sweep_leftovers()
    catalog = Catalog(places.catalog)
    folder = Folder(catalog=catalog, archive=archive, spool=spool, measuring=measure_file, judge=judge)
    packer = Packer(archive=archive, spool=spool, catalog=catalog, folder=folder, reserve=NO_RESERVE)
    maintenance = Maintenance(archive, reserve=NO_RESERVE)
    ack = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    sources = [f"x{number} = {chance.random()}" for number in range(60)]
    while True:
        for _ in range(chance.randrange(1, 6)):
            sources[chance.randrange(len(sources))] = f"y = {chance.random()}"
            data = notebook_bytes(*sources, outputs=True)
            if chance.random() < share:
                data += os.urandom(9_000_000)
            digest = hashlib.sha256(data).hexdigest()
            draft = spool.draft(
                kind=DraftKind.VERSION,
                path=f"/w/{chance.randrange(3)}.ipynb",
                moment=spool.moment(),
                trigger=Trigger.WATCH,
                root="/w",
                size=len(data),
                sha256=digest,
            )
            spool.keep(draft, data)
            os.write(ack, f"{draft.id} {digest}\n".encode())
        try:
            packer.pack()
            if is_due(count_packs(archive)):
                maintenance.run()
        except Busy:
            continue


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
