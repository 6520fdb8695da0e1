"""A process that keeps and packs on request, one line each, so that a fault can be put around it and taken away.

    python -m tests.archive.keeper_on_request HOME

``keep TEXT`` answers ``kept ID``; ``pack`` answers ``packed COUNT``; a failure answers ``failed TYPE CODE``.
"""

from __future__ import annotations

import sys

from nbguard.archive.spool import Reserve
from nbguard.errors import NbguardError
from nbguard.places import find_places
from tests.archive.rig import Rig


def main() -> None:
    """Until the end of input."""
    home, reserve_bytes = sys.argv[1], int(sys.argv[2])
    rig = Rig(home, places=find_places(home=home), reserve=Reserve(bytes=reserve_bytes, percent=100.0))
    print("ready", flush=True)
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        try:
            if word == "keep":
                print("kept", rig.save("/n.ipynb", rest.encode()).id, flush=True)
            else:
                print("packed", rig.packer.pack().versions, flush=True)
        except NbguardError as error:
            print("failed", type(error).__name__, error.code, flush=True)


if __name__ == "__main__":
    main()
