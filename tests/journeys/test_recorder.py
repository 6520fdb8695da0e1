"""Outputs that were never saved come back: a notebook of a real JupyterLab, whose tab is closed while a cell runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient

from nbguard.app_history import executed_library
from nbguard.cli.context import Context
from tests.helpers import poll
from tests.journeys.conftest import Lab
from tests.journeys.guarded import guarding
from tests.journeys.jupyter_server import notebook

pytestmark = pytest.mark.jupyter

CODE = "print('after a night of training: 0.93')"


def test_outputs_of_a_closed_tab_come_back_with_the_version(lab: Lab, tmp_path: Path) -> None:
    server, name = lab.server, "training.ipynb"
    path = lab.root / name
    saved = server.save(name, notebook("x = 1", CODE))
    with guarding(tmp_path, lab.root, environment={"HOME": str(server.home)}) as guard:
        guard.until_kept(path, saved)
        session = server.open(name)
        (kernel,) = [found["kernel"]["id"] for found in server.ask("GET", "/api/sessions") if found["id"] == session]
        client: Any = BlockingKernelClient(connection_file=str(server.runtime / f"kernel-{kernel}.json"))
        client.load_connection_file()
        client.start_channels(hb=False)  # a kernel that is just starting has no heartbeat, and is not dead
        client.wait_for_ready(timeout=60)

        def recorded() -> bool:
            client.execute("'is it heard?'", reply=True, timeout=60)
            library = executed_library(Context(home=str(guard.home), config=None))
            try:
                return any(run.path == str(path) for run in library.runs())
            finally:
                library.close()

        poll(recorded, 30, every=0.5)
        client.execute("import time; time.sleep(0.5)")
        client.execute(CODE)
        client.stop_channels()  # the tab is closed; nobody listens when the cell runs

        def shown() -> Any:
            answer = guard.nbguard("show", str(path), "--with-outputs")
            assert answer.code == 0, answer.talk
            return json.loads(answer.out)["cells"][1]["outputs"]

        (output,) = poll(shown, 30, every=0.5)
        assert output["text"] == ["after a night of training: 0.93\n"]
        answer = guard.nbguard("restore", str(path), "--at", "~0", "--with-outputs", "--json")
        assert answer.code == 0, answer.talk
        given_back = json.loads(Path(answer.json["written_to"]).read_bytes())
        assert given_back["cells"][1]["outputs"] == [output]
        assert given_back["metadata"]["nbguard"]["outputs_filled_in"] == 1
        assert path.read_bytes() == saved
        server.shut(session)
