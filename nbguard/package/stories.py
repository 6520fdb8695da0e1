"""What was executed for each notebook: its sessions' cells and what was recorded of them, and nobody else's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from nbguard.executed import ExecutedCell, Link, Run, session_id
from nbguard.package.belonging import Choose, Key, anchor, holds, own_cells, ran_by, session_of, sure_links
from nbguard.ports import ExecutedLibrary

HolderAt = Callable[[str, datetime], str | None]
"""The lineage that was at a path at a time; None when none ever was."""

_Whose = TypeVar("_Whose", Key, str)
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What was executed in one session, or seen of one kernel, as far as it belongs to ``path``.

    ``confidence`` and ``evidence`` are those of the surest link. Times are UTC.
    """

    id: str
    path: str | None
    began_at: datetime
    confidence: str
    evidence: tuple[str, ...]
    database: str
    cells: tuple[ExecutedCell, ...]
    runs: tuple[Run, ...]

    @property
    def executions(self) -> int:
        return max(len(self.cells), len(self.runs))


class Stories:
    """Everything executed, asked for by notebook. Methods raise what the library raises."""

    def __init__(
        self, executed: ExecutedLibrary, *, holder_at: HolderAt, choose: Choose, at: datetime | None = None
    ) -> None:
        self._executed, self._holder_at, self._choose, self._at = executed, holder_at, choose, at
        self._sessions = {(session.generation, session.session): session for session in executed.sessions()}
        self._databases = {generation.id: generation.path for generation in executed.generations()}
        self._links: dict[Key, list[Link]] = defaultdict(list)
        self._kernels: dict[str, list[Link]] = defaultdict(list)
        for link in executed.links():
            if link.generation is not None and link.session is not None:
                self._links[link.generation, link.session].append(link)
            if link.kernel is not None:
                self._kernels[link.kernel].append(link)
        self._keys_at = _by_path(self._links)
        self._kernels_at = _by_path(self._kernels)
        self._told: dict[Key, set[int]] = defaultdict(set)
        self._told_runs: set[str] = set()

    def of(self, notebook: str, paths: Iterable[str]) -> list[Story]:
        """The stories of one lineage that was at these paths, oldest first; '' is a notebook that was never saved."""
        paths = list(dict.fromkeys(paths))
        keys = {key for path in paths for key in self._keys_at.get(path, ())}
        own = {key: [link for link in sure_links(self._links[key]) if self._is_own(link, notebook)] for key in keys}
        own = {key: links for key, links in own.items() if links}
        cells = {key: self._cells(key, notebook) for key in own}
        kernels: dict[str, list[Key]] = defaultdict(list)
        for key, links in own.items():
            for link in links:
                if link.kernel is not None:
                    kernels[link.kernel].append(key)
        runs_of: dict[Key | str, list[Run]] = defaultdict(list)
        for run in self._runs(notebook, paths):
            runs_of[session_of(run, cells, kernels) or run.kernel].append(run)
            self._told_runs.add(run.id)
        found = [self._story(key, links, cells[key], runs_of.get(key, ())) for key, links in own.items()]
        found += [_kernel(key, those) for key, those in runs_of.items() if isinstance(key, str)]
        return sorted((story for story in found if story.executions), key=lambda story: (story.began_at, story.id))

    def unsaved(self) -> Iterator[tuple[str, list[Story]]]:
        """Paths that sessions are linked to and of which no version was ever kept."""
        for path in sorted({*self._keys_at, *self._kernels_at}):
            if self._holder_at(path, _NEVER) is None and (stories := self.of("", [path])):
                yield path, stories

    def rest(self) -> Iterator[Story]:
        """What belongs to no notebook that was asked for before: consoles, and what could not be told."""
        for key, session in self._sessions.items():
            cells = ran_by(self._executed.cells(*key), session, self._at)
            left = [cell for cell in cells if cell.line not in self._told[key]]
            if left:
                yield self._story(key, self._links.get(key, []), left, ())
        kernels: dict[str, list[Run]] = defaultdict(list)
        for run in self._executed.runs():
            if run.id not in self._told_runs and (self._at is None or run.started_at <= self._at):
                kernels[run.kernel].append(run)
        for kernel, runs in kernels.items():
            yield _kernel(kernel, runs)

    def untold(self) -> int:
        """How many sessions were not asked for so far."""
        return sum(not self._told[key] for key in self._sessions)

    def _cells(self, key: Key, notebook: str) -> list[ExecutedCell]:
        cells = own_cells(
            self._executed.cells(*key), self._links[key], self._choose, lambda link: self._is_own(link, notebook)
        )
        cells = ran_by(cells, self._sessions.get(key), self._at)
        self._told[key].update(cell.line for cell in cells)
        return cells

    def _runs(self, notebook: str, paths: Sequence[str]) -> list[Run]:
        """What was recorded for a notebook: by its paths, and of kernels that were its own when they had none."""
        found = {
            run.id: run
            for path in paths
            for run in self._executed.runs(path=path)
            if (self._holder_at(path, run.started_at) or "") == notebook
        }
        for path in paths:
            for kernel in self._kernels_at.get(path, ()):
                own = [link for link in sure_links(self._kernels[kernel]) if self._is_own(link, notebook)]
                for run in self._executed.runs(kernel=kernel) if own else ():
                    if run.path is None and any(holds(link, run.started_at) for link in own):
                        found[run.id] = run
        in_time = [run for run in found.values() if self._at is None or run.started_at <= self._at]
        return sorted(in_time, key=lambda run: (run.started_at, run.id))

    def _story(self, key: Key, links: Sequence[Link], cells: Sequence[ExecutedCell], runs: Sequence[Run]) -> Story:
        session, sure = self._sessions.get(key), sure_links(links)
        surest = max(links, key=lambda link: (link in sure, link.seen_at), default=None)
        began = session.started_at if session is not None else None
        if began is None:
            began = min([*(cell.seen_at for cell in cells), *(run.started_at for run in runs)], default=_NEVER)
        return Story(
            id=session_id(*key),
            path=surest.path if surest is not None else None,
            began_at=began,
            confidence=str(surest.confidence) if surest is not None else "unknown",
            evidence=surest.evidence if surest is not None else (),
            database=self._databases.get(key[0], ""),
            cells=tuple(cells),
            runs=tuple(runs),
        )

    def _is_own(self, link: Link, notebook: str) -> bool:
        return link.path is not None and (self._holder_at(link.path, anchor(link)) or "") == notebook


def _by_path(links: Mapping[_Whose, Sequence[Link]]) -> dict[str, set[_Whose]]:
    found: dict[str, set[_Whose]] = defaultdict(set)
    for whose, those in links.items():
        for link in sure_links(those):
            found[link.path or ""].add(whose)
    return found


def _kernel(kernel: str, runs: Sequence[Run]) -> Story:
    return Story(
        id="kernel-" + "".join(character for character in kernel if character.isalnum())[:12],
        path=runs[0].path,
        began_at=runs[0].started_at,
        confidence="exact" if runs[0].path is not None else "unknown",
        evidence=("recorded",),
        database="",
        cells=(),
        runs=tuple(runs),
    )
