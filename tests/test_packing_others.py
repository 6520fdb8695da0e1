"""What commands keep while the daemon is idle is packed by the daemon, as its own drafts are."""

from __future__ import annotations

import os
from pathlib import Path

from nbguard.app_daemon import Assembly
from nbguard.cli.context import Context
from tests.helpers import nbguard, notebook_bytes


def test_a_snapshot_of_another_process_does_not_stay_in_the_spool(home: Path) -> None:
    work, outside = home / "work", home / "outside.ipynb"
    work.mkdir()
    outside.write_bytes(notebook_bytes("a = 1"))
    ours = Path(os.environ["NBGUARD_HOME"])
    ours.mkdir(mode=0o700)
    (ours / "config.toml").write_text(f'schema = 1\nroots = ["{work}"]\n[intervals]\npack_seconds = 0.001\n')
    assert nbguard("run", "--once").code == 0
    assembly = Assembly(Context.from_environment(None), [str(work)])
    assembly.begin()
    try:
        assembly.pack_due()
        assert nbguard("snapshot", str(outside)).code == 0
        assert len(list((ours / "spool/new").iterdir())) == 1
        assembly.pack_due()
    finally:
        assembly.end()
    assert list((ours / "spool/new").iterdir()) == []
