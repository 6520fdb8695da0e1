"""What a rebuilt notebook holds, and what the log beside it holds."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from nbguard.recover.found import FoundCell
from nbguard.recover.rebuild import Rebuilt, rebuild
from nbguard.recover.validity import complaint
from tests.helpers import notebook_bytes

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def ran(*sources: str, group: str = "3f9a12bc-42") -> list[FoundCell]:
    return [
        FoundCell(source=source, origin=f"history {group}:{line}", group=group, line=line)
        for line, source in enumerate(sources, 1)
    ]


def sources(data: bytes, *kinds: str) -> list[str]:
    return ["".join(cell["source"]) for cell in cells(data) if cell["cell_type"] in (kinds or ("code",))]


def cells(data: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(data)["cells"]
    return found


def about(data: bytes, source: str) -> dict[str, Any]:
    (cell,) = [cell for cell in cells(data) if "".join(cell["source"]) == source]
    found: dict[str, Any] = cell["metadata"]["nbguard"]
    return found


def sound(rebuilt: Rebuilt) -> Rebuilt:
    assert complaint(rebuilt.notebook) == ""
    assert complaint(rebuilt.log) == ""
    return rebuilt


def test_a_new_text_takes_the_place_of_the_old_one_and_keeps_it_in_the_metadata() -> None:
    base = notebook_bytes("import math", "radius = 2\nprint(math.pi * radius)", "print('done')", outputs=True)
    rebuilt = sound(rebuild(base, ran("radius = 3\nprint(math.pi * radius)"), now=NOW))
    assert sources(rebuilt.notebook) == ["import math", "radius = 3\nprint(math.pi * radius)", "print('done')"]
    told = about(rebuilt.notebook, "radius = 3\nprint(math.pi * radius)")
    assert told["state"] == "edited"
    assert told["from"] == "history 3f9a12bc-42:1"
    assert told["replaced"] == [{"source": "radius = 2\nprint(math.pi * radius)", "from": "archive"}]
    assert (rebuilt.unchanged, rebuilt.edited, rebuilt.added, rebuilt.never_run) == (2, 1, 0, 2)
