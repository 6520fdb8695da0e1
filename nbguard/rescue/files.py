"""Sources that are plain files among the user's: checkpoints, copies that writers leave behind, temporary files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from nbguard.executed import Confidence
from nbguard.names import SUFFIX, is_notebook_name, notebook_of_leftover
from nbguard.rescue.findings import Finding, Look, SourceName, Unavailable, Wanted
from nbguard.rescue.jupyter_config import CheckpointPlaces
from nbguard.rescue.matching import fit, fits_name
from nbguard.rescue.reading import file_finding, reason
from nbguard.rescue.survey import Survey

_CHECKPOINT = re.compile(r"(.+)-checkpoint\.ipynb", re.DOTALL)
_NUMBERED = re.compile(r"(.+)-[0-9a-f]{8}\.ipynb", re.DOTALL)
_MOST_TEMPORARY = 200_000
_MOST_DEEP = 2  # writers of temporary files make a folder, seldom two; what lies deeper is somebody's project


def look_at(source: SourceName, files: Iterable[tuple[str, str]], wanted: Wanted, *, note: str = "") -> Look:
    """Those of the files (path, notebook) that fit; files that cannot be read are named."""
    found: list[Finding] = []
    unavailable: list[Unavailable] = []
    for path, notebook in files:
        confidence = fit(wanted, notebook)
        if confidence is None:
            continue
        try:
            finding = file_finding(source, path, notebook, confidence, note=note)
        except OSError as error:
            unavailable.append(Unavailable(source, reason(error)))
            continue
        if finding is not None:
            found.append(finding)
    return Look(tuple(found), tuple(unavailable))


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Jupyter's checkpoints: beside the notebooks, in the folder that is configured, or in the temporary one that
    Jupyter takes when it may not write beside a notebook."""

    survey: Survey
    places: CheckpointPlaces
    temporary: tuple[str, ...]

    @property
    def name(self) -> SourceName:
        return SourceName.CHECKPOINT

    def look(self, wanted: Wanted) -> Look:
        """Checkpoints that fit; in a folder that all notebooks share only their names tell whose they are."""
        look = look_at(self.name, self._files(), wanted)
        unsure = tuple(Unavailable(self.name, said) for said in self.places.unclear)
        return Look(look.found, look.unavailable + unsure)

    def _files(self) -> Iterator[tuple[str, str]]:
        for folder in self.survey.checkpoint_folders:
            beside = self.places.beside(folder)
            for name, notebook in _named(folder, _CHECKPOINT):
                yield os.path.join(folder, name), os.path.join(beside, notebook)
        for folder in self.places.shared:
            for name, notebook in _named(folder, _CHECKPOINT):
                yield os.path.join(folder, name), notebook
        for folder in self.temporary:
            top = os.path.join(folder, "jupyter_checkpoints")
            for below, _, names in os.walk(top):
                for name in names:
                    if match := _CHECKPOINT.fullmatch(name):
                        relative = os.path.relpath(below, top)
                        yield os.path.join(below, name), os.path.normpath(os.path.join(relative, match[1] + SUFFIX))


@dataclass(frozen=True, slots=True)
class JupyterCheckpoints:
    """The several checkpoints of jupyter-checkpoints: ``X-1a2b3c4d.ipynb`` in the same folders.

    Only the last eight hex digits are the checkpoint's own: ``a-b-1a2b3c4d`` is of ``a-b``, and never of ``a``.
    """

    survey: Survey
    places: CheckpointPlaces

    @property
    def name(self) -> SourceName:
        return SourceName.JUPYTER_CHECKPOINTS

    def look(self, wanted: Wanted) -> Look:
        """Checkpoints that fit."""
        return look_at(self.name, self._files(), wanted)

    def _files(self) -> Iterator[tuple[str, str]]:
        for folder in self.survey.checkpoint_folders:
            for name, notebook in _named(folder, _NUMBERED):
                yield os.path.join(folder, name), os.path.join(self.places.beside(folder), notebook)
        for folder in self.places.shared:
            for name, notebook in _named(folder, _NUMBERED):
                yield os.path.join(folder, name), notebook


@dataclass(frozen=True, slots=True)
class PreSaves:
    """``.~X.ipynb`` (Jupyter's copy before it writes), ``X.ipynb~`` (vim's) and ``X.ipynb.invalid`` (Jupyter's, when it
    heals a broken notebook)."""

    survey: Survey

    @property
    def name(self) -> SourceName:
        return SourceName.PRE_SAVE

    def look(self, wanted: Wanted) -> Look:
        """Copies that fit."""
        return look_at(self.name, self.survey.leftovers, wanted)


@dataclass(frozen=True, slots=True)
class TemporaryFiles:
    """Notebooks of ours in the folders for temporary files; their names are all that is known of them."""

    folders: tuple[str, ...]
    avoid: frozenset[str]
    user: int
    monotonic: Callable[[], float]
    most_seconds: float = 20.0

    @property
    def name(self) -> SourceName:
        return SourceName.TEMP

    def look(self, wanted: Wanted) -> Look:
        """Files that fit by name."""
        self_found: list[tuple[str, str]] = []
        stopped: list[Unavailable] = []
        deadline, seen = self.monotonic() + self.most_seconds, 0
        for top in self.folders:
            for below, folders, names in os.walk(top):
                seen += len(names) + len(folders)
                if below.count("/") - top.count("/") >= _MOST_DEEP:
                    folders.clear()
                if self.monotonic() > deadline or seen > _MOST_TEMPORARY:
                    stopped.append(Unavailable(self.name, f"{top}: too many files; the search ended at {below}"))
                    break
                folders[:] = [
                    name
                    for name in folders
                    if name != "jupyter_checkpoints" and os.path.join(below, name) not in self.avoid
                ]
                self_found += self._notebooks(below, names, wanted)
        look = look_at(self.name, self_found, wanted)
        return Look(tuple(map(self._unsure, look.found)), look.unavailable + tuple(stopped))

    def _unsure(self, finding: Finding) -> Finding:
        """In a folder of its own it may well be of somebody's other notebook of that name."""
        if os.path.dirname(finding.path) in self.folders or finding.confidence is Confidence.EXACT:
            return finding
        return replace(finding, confidence=Confidence.AMBIGUOUS)

    def _notebooks(self, folder: str, names: list[str], wanted: Wanted) -> Iterator[tuple[str, str]]:
        for name in names:
            notebook = name if is_notebook_name(name) else notebook_of_leftover(name)
            if notebook is None and (match := _CHECKPOINT.fullmatch(name)):
                notebook = match[1] + SUFFIX
            if notebook is None or not fits_name(wanted, notebook):
                continue
            path = os.path.join(folder, name)
            try:
                if os.stat(path, follow_symlinks=False).st_uid == self.user:
                    yield path, notebook
            except OSError:
                continue


def _named(folder: str, pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """(name, notebook's name) of the files in a folder whose names are of that kind; nothing when it is not there."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        if match := pattern.fullmatch(name):
            yield name, match[1] + SUFFIX
