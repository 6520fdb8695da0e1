"""The child of measuring.py: parses one big notebook under limits and prints its measure as JSON (null: unreadable).

Ends with 3 when memory ran out, so that a lack of memory is never taken for a damaged notebook.
"""

from __future__ import annotations

import json
import os
import resource
import sys

_CPU_SECONDS = 60
_OUT_OF_MEMORY = 3


def main(path: str, offset: int, memory_bytes: int) -> int:
    """Measure the notebook at ``offset`` of ``path``; returns the exit code."""
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_CPU, _CPU_SECONDS)
    os.nice(10)
    from nbguard.notebook import measure_strictly

    try:
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read()
        found = measure_strictly(data)
    except MemoryError:
        return _OUT_OF_MEMORY
    answer = None if found is None else {"cells": found.cells, "source_chars": found.source_chars}
    print(json.dumps(answer))
    return 0


def _limit(what: int, most: int) -> None:
    """Lower a limit, and leave a lower one as it is."""
    _soft, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
