"""The composition root's page for what rescue writes: findings handed out, and one notebook rebuilt of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nbguard.clock import SystemClock
from nbguard.rescue.evidence import best_of, merged_files, merged_sessions
from nbguard.rescue.findings import File, Finding, Session
from nbguard.rescue.handing_out import hand_out
from nbguard.rescue.matching import candidates
from nbguard.rescue.result import Written
from nbguard.rescue.writing import Output, safe_name

if TYPE_CHECKING:
    from datetime import datetime

    from nbguard.app_rescue import Request, Rescued
    from nbguard.recover.found import FoundCell
    from nbguard.recover.rebuild import Rebuilt


def write(request: Request, rescued: Rescued, *, check: bool) -> Written:
    """Everything found below the folder that was asked for; of one notebook, also rebuilt. Raises StorageTrouble."""
    from nbguard.errors import UsageError

    if request.output is None:
        raise UsageError("where to?", hint="-o DIR")
    found = rescued.gathered.found
    output = Output(request.output)
    if not found:
        return Written()
    output.prepare()
    places, lost = hand_out(found, output, _export)
    if not request.wanted.paths or candidates(found):
        return Written(places=places, lost=tuple(lost))
    rebuilt, unread = _rebuild(rescued)
    if rebuilt is None:
        return Written(places=places, lost=tuple(lost))
    stem = safe_name(os.path.basename(request.wanted.paths[0]).removesuffix(".ipynb"))
    notebook = output.write("", f"{stem}.rebuilt.ipynb", rebuilt.notebook)
    log = output.write("", f"{stem}.log.ipynb", rebuilt.log)
    failing, said = _failing(rebuilt.notebook) if check else (None, ())
    return Written(
        places=places,
        notebook=notebook,
        log=log,
        failing=failing,
        lost=(*lost, *unread),
        notes=(*rebuilt.notes, *said),
    )


def _rebuild(rescued: Rescued) -> tuple[Rebuilt | None, list[str]]:
    from nbguard.recover.rebuild import rebuild

    found = rescued.gathered.found
    files = [*_on_disk(rescued), *merged_files(found)]
    sessions = merged_sessions(found)
    if not files and not sessions:
        return None, []
    base = best_of(files)
    lost: list[str] = []
    cells = [cell for each in files if each is not base for cell in _cells_of_file(each, lost)]
    cells += [cell for each in sessions for cell in _cells_of_session(each)]
    return (
        rebuild(
            _bytes(base, lost) if base is not None else None,
            cells,
            now=SystemClock().now(),
            base_origin=_label(base) if base is not None else "",
            base_at=base.time if base is not None else None,
        ),
        lost,
    )


def _on_disk(rescued: Rescued) -> Iterator[Finding]:
    """The notebook as it lies there now, if it is whole."""
    from nbguard.executed import Confidence
    from nbguard.rescue.findings import SourceName
    from nbguard.rescue.reading import file_finding

    for path in rescued.present_exactly:
        try:
            finding = file_finding(SourceName.TEMP, path, path, Confidence.EXACT, note="disk")
        except OSError:
            continue
        if finding is not None and finding.cells:
            yield finding


def _label(finding: Finding) -> str:
    return "disk" if finding.note == "disk" else str(finding.source)


def _bytes(finding: Finding, lost: list[str]) -> bytes | None:
    from nbguard.errors import NbguardError

    assert isinstance(finding.content, File)
    try:
        return finding.content.read()
    except (OSError, NbguardError) as error:
        lost.append(f"{finding.source}: {finding.path}: {error}")
        return None


def _cells_of_file(finding: Finding, lost: list[str]) -> Iterator[FoundCell]:
    import json

    from nbguard.recover.base_notebook import read_base
    from nbguard.recover.found import FoundCell
    from nbguard.recover.sound_cells import joined

    data = _bytes(finding, lost)
    notebook = read_base(data) if data is not None else None
    for cell in notebook.cells if notebook is not None else ():
        identity, attachments = cell.get("id"), cell.get("attachments")
        yield FoundCell(
            source=joined(cell["source"]),
            origin=_label(finding),
            group=f"{finding.path} {finding.id}".strip(),
            kind=str(cell["cell_type"]),
            executed=False,
            seen_at=finding.time,
            outputs=json.dumps(cell["outputs"]) if "outputs" in cell else None,
            cell_id=identity if isinstance(identity, str) else None,
            metadata=json.dumps(cell["metadata"]),
            attachments=json.dumps(attachments) if attachments else "",
        )


def _cells_of_session(finding: Finding) -> Iterator[FoundCell]:
    assert isinstance(finding.content, Session)
    yield from session_cells(finding.content, str(finding.source), finding.time)


def session_cells(session: Session, source: str, time: datetime | None) -> Iterator[FoundCell]:
    """The executed cells of a session, as a rebuild takes them."""
    from nbguard.recover.found import FoundCell

    runs = {(run.execution_count, run.source.rstrip("\n")): run for run in session.runs}
    for run in session.runs if not session.cells else ():
        yield FoundCell(
            source=run.source,
            origin=f"{source} {session.id}:{run.execution_count or '?'}",
            group=session.id,
            line=run.execution_count,
            seen_at=run.ran_at or time,
            outputs=run.outputs,
            failed=run.failed,
        )
    for cell in session.cells:
        recorded = runs.get((cell.line, cell.source.rstrip("\n")))
        yield FoundCell(
            source=cell.source,
            origin=f"{source} {session.id}:{cell.line}",
            group=session.id,
            line=cell.line,
            seen_at=(recorded.ran_at if recorded is not None else None) or time or cell.seen_at,
            outputs=recorded.outputs if recorded is not None else None,
            output_text=cell.output,
            failed=recorded is not None and recorded.failed,
        )


def _export(session: Session) -> tuple[bytes, bytes]:
    """A session as py:percent and as a notebook; outputs, where there are any, are in the notebook."""
    from nbguard.history.export import ExportedCell, as_notebook, as_percent
    from nbguard.recover.chronology import chronological_log

    now = SystemClock().now()
    cells = [ExportedCell(cell.source, cell.line, cell.seen_at) for cell in session.cells]
    cells = cells or [ExportedCell(run.source, run.execution_count, run.ran_at or now) for run in session.runs]
    script = as_percent(cells).text.encode("utf-8", "surrogateescape")
    if not session.runs:
        return script, as_notebook(cells, session.id)
    return script, chronological_log(list(session_cells(session, "recorder", None)), {}, now=now)


def _failing(notebook: bytes) -> tuple[tuple[tuple[int, str], ...] | None, tuple[str, ...]]:
    """The cells that fail when the notebook is executed from the top; None and a note when that cannot be tried."""
    from nbguard.recover.checking import CheckFailed
    from nbguard.recover.checking import check as execute

    try:
        return tuple((each.number, each.why) for each in execute(notebook).failing), ()
    except CheckFailed as error:
        return None, (f"not executed: {error.message}",)
