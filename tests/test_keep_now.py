"""What a restore writes is its own version, also when the daemon saw the file first."""

from __future__ import annotations

import json
import os
from pathlib import Path

from nbguard import app
from nbguard.capture.keep import Kept
from nbguard.cli.context import Context
from nbguard.heads import Heads
from nbguard.model import Trigger
from tests.helpers import nbguard, notebook_bytes


def test_the_daemon_was_quicker_and_yet_there_is_one_version(home: Path) -> None:
    path = home / "eda.ipynb"
    path.write_bytes(notebook_bytes("a = 1"))
    assert nbguard("snapshot", str(path)).code == 0
    context = Context.from_environment(None)
    store = app.open_store(context)
    daemon = app.new_keeper(context, store, Heads(store.catalog.heads()))
    keep = app.keeper(context)

    before = keep(str(path), Trigger.SNAPSHOT)
    other = path.with_name("other")
    other.write_bytes(notebook_bytes("a = 2"))
    os.replace(other, path)
    assert isinstance(daemon.keep(str(path), Trigger.WATCH), Kept)
    result = keep(str(path), Trigger.RESTORE)

    rows = json.loads(nbguard("log", str(path), "--json").out)
    assert [row["id"] for row in rows] == [result.id, before.id]
    assert rows[0]["trigger"] == "restore"

    path.write_bytes(notebook_bytes("a = 3"))
    assert isinstance(daemon.keep(str(path), Trigger.WATCH), Kept)
    assert json.loads(nbguard("log", str(path), "--json").out)[0]["trigger"] == "watch"
