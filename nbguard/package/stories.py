"""What was executed for each notebook: its sessions' cells and what was recorded of them, and nobody else's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from nbguard.model import ExecutedCell, Link, Run, session_id
from nbguard.package.belonging import Span, anchor, holder, holds, own_cells, ran_by, spans_at, sure_links
from nbguard.ports import ExecutedLibrary, Library

_Key = tuple[str, int]
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
    """Everything executed, asked for by notebook. Methods raise what the libraries raise."""

    def __init__(self, executed: ExecutedLibrary, library: Library, at: datetime | None) -> None:
        self._executed, self._library, self._at = executed, library, at
        self._sessions = {(session.generation, session.session): session for session in executed.sessions()}
        self._databases = {generation.id: generation.path for generation in executed.generations()}
        self._spans: dict[str, list[Span]] = {}
        self._links: dict[_Key, list[Link]] = defaultdict(list)
        kernels: dict[str, list[Link]] = defaultdict(list)
        for link in executed.links():
            if link.generation is not None and link.session is not None:
                self._links[link.generation, link.session].append(link)
            if link.kernel is not None:
                kernels[link.kernel].append(link)
        self._kernels_at: dict[str, list[Link]] = defaultdict(list)
        for links in kernels.values():
            for link in sure_links(links):
                self._kernels_at[link.path or ""].append(link)
        self._sure = {key: sure_links(links) for key, links in self._links.items()}
        self._keys_at: dict[str, set[_Key]] = defaultdict(set)
        for key, links in self._sure.items():
            for link in links:
                self._keys_at[link.path or ""].add(key)
        self._told: dict[_Key, set[int]] = defaultdict(set)
        self._told_runs: set[str] = set()

    def of(self, notebook: str, paths: Iterable[str]) -> list[Story]:
        """The stories of one lineage that was at these paths, oldest first; '' is a notebook that was never saved."""
        paths = list(dict.fromkeys(paths))
        keys = {key for path in paths for key in self._keys_at.get(path, ())}
        own = {key: [link for link in self._sure[key] if self._holder(link) == notebook] for key in keys}
        own = {key: links for key, links in own.items() if links}
        runs = self._runs(notebook, paths)
        runs_of: dict[_Key | str, list[Run]] = defaultdict(list)
        for run in runs:
            key = _key_of(run)
            runs_of[key if key is not None and key in own else run.kernel].append(run)
        found = [self._session(key, links, runs_of.get(key, ()), notebook) for key, links in own.items()]
        found += [_kernel(key, those) for key, those in runs_of.items() if isinstance(key, str)]
        self._told_runs.update(run.id for run in runs)
        return sorted((story for story in found if story.executions), key=lambda story: (story.began_at, story.id))

    def unsaved(self) -> Iterator[tuple[str, list[Story]]]:
        """Paths that sessions are linked to and of which no version was ever kept."""
        for path in sorted(self._keys_at):
            if not self._spans_at(path) and (stories := self.of("", [path])):
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

    def _session(self, key: _Key, own: Sequence[Link], runs: Sequence[Run], notebook: str) -> Story:
        foreign = [link for link in self._sure[key] if self._holder(link) != notebook]
        cells = own_cells(self._executed.cells(*key), own, foreign)
        cells = ran_by(cells, self._sessions.get(key), self._at)
        self._told[key].update(cell.line for cell in cells)
        return self._story(key, own, cells, runs)

    def _runs(self, notebook: str, paths: Sequence[str]) -> list[Run]:
        """What was recorded for a notebook: by its paths, and of kernels that were its own when they had none."""
        found = {
            run.id: run
            for path in paths
            for run in self._executed.runs(path=path)
            if holder(self._spans_at(path), run.started_at) == notebook
        }
        for path in paths:
            for link in self._kernels_at.get(path, ()):
                if link.kernel is not None and self._holder(link) == notebook:
                    runs = self._executed.runs(kernel=link.kernel)
                    found.update((run.id, run) for run in runs if run.path is None and holds(link, run.started_at))
        in_time = [run for run in found.values() if self._at is None or run.started_at <= self._at]
        return sorted(in_time, key=lambda run: (run.started_at, run.id))

    def _story(self, key: _Key, links: Sequence[Link], cells: Sequence[ExecutedCell], runs: Sequence[Run]) -> Story:
        session = self._sessions.get(key)
        surest = max(links, key=lambda link: (link in self._sure.get(key, ()), link.seen_at), default=None)
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

    def _holder(self, link: Link) -> str:
        return holder(self._spans_at(link.path or ""), anchor(link))

    def _spans_at(self, path: str) -> list[Span]:
        if path not in self._spans:
            logs = (self._library.log(notebook) for _, notebook in self._library.named(path))
            self._spans[path] = spans_at(path, logs)
        return self._spans[path]


def _key_of(run: Run) -> _Key | None:
    return (run.generation, run.session) if run.generation is not None and run.session is not None else None


def _kernel(kernel: str, runs: Sequence[Run]) -> Story:
    return Story(
        id=f"kernel-{kernel[:12]}",
        path=runs[0].path,
        began_at=runs[0].started_at,
        confidence="exact" if runs[0].path is not None else "unknown",
        evidence=("recorded",),
        database="",
        cells=(),
        runs=tuple(runs),
    )
