"""The daemon packs executed cells as they wait, writes again what was wiped, and prunes outputs, never code."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nbguard.app_daemon import Assembly
from nbguard.app_history import executed_library
from nbguard.cli.context import Context
from nbguard.executed import ExecutedCell, Run, RunOutputs
from tests.helpers import nbguard, poll

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def test_executed_cells_are_packed_and_old_outputs_go_while_their_code_stays(home: Path) -> None:
    work, ours = home / "work", Path(os.environ["NBGUARD_HOME"])
    work.mkdir()
    ours.mkdir(mode=0o700)
    (ours / "config.toml").write_text(
        f'schema = 1\nroots = ["{work}"]\n[intervals]\npack_seconds = 0.001\n[retention]\noutputs_days = 5\n'
    )
    assert nbguard("run", "--once").code == 0
    context = Context.from_environment(None)
    assembly = Assembly(context, [str(work)])
    assembly.begin()
    try:
        cell = ExecutedCell(generation="ab", session=1, line=1, source="x", seen_at=NOW)
        run = Run(
            id="r1", kernel="k", execution_count=1, source="x", started_at=NOW, ended_at=NOW, status="ok", outputs=1
        )
        assembly.record_log.append([cell, run])
        assembly.outputs.put([RunOutputs(run="r1", recorded_at=NOW, outputs="[]")])
        (written,) = (ours / "spool/recorded").iterdir()
        long_ago = datetime.now(UTC) - timedelta(days=7)
        written.rename(written.with_name(f"{long_ago:%Y-%m-%d}{written.name[10:]}"))

        def packed() -> bool:
            assembly.pack_due()
            return list((ours / "spool/records").iterdir()) == []

        poll(packed)
        assert len(list((ours / "spool/recorded").iterdir())) == 1
        assembly.packs.maintain_soon()
        assembly.pack_due()
        assert list((ours / "spool/recorded").iterdir()) == []
        library = executed_library(context)
        assert (library.cells("ab", 1), library.runs()) == ([cell], [run])

        assembly.record_log.append([cell, run])
        shutil.rmtree(ours / "spool/records")
        assembly.pack_due()
        library.catch_up()
        assert (library.cells("ab", 1), library.runs()) == ([cell], [run])
        library.close()
    finally:
        assembly.end()
