"""Which notebook is meant by a name: an exact path, present or former, else any unambiguous tail."""

from __future__ import annotations

import os
from dataclasses import dataclass

from nbguard.errors import Ambiguous, NothingMatched, UsageError
from nbguard.model import Version
from nbguard.ports import Library
from nbguard.recover.wording import listed, shown


@dataclass(frozen=True, slots=True)
class Found:
    """A notebook: its latest path, its lineage, and all its versions, newest first."""

    path: str
    notebook: str
    versions: list[Version]


def find_notebook(library: Library, text: str, cwd: str) -> Found:
    """The notebook that ``text`` names for somebody in ``cwd``. Raises NothingMatched, Ambiguous, UsageError."""
    if not text or "\0" in text:
        raise UsageError("a notebook's name is missing", hint="see `nbguard list`")
    path = os.path.normpath(os.path.join(cwd, text))
    exact = _exactly(library, path)
    hits = exact[:1]  # the present notebook of that path comes first; else the one that was there last
    if not hits and not os.path.lexists(path):
        hits = library.ending(os.path.normpath(text).lstrip("/"))
    if not hits:
        raise _nothing(library, text, path)
    if len({notebook for _, notebook in hits}) > 1:
        raise Ambiguous(
            f"{len(hits)} notebooks match {shown(text)}",
            hint="say more of the path:\n" + listed(sorted(shown(at) for at, _ in hits)),
        )
    at, notebook = hits[0]
    versions = library.log(notebook)
    # What was imported or rescued for a notebook may carry another path; the tip says where the notebook is.
    return Found(next((version.path for version in versions if version.tip), at), notebook, versions)


def _exactly(library: Library, path: str) -> list[tuple[str, str]]:
    """Notebooks at ``path`` as it is written, else at what it resolves to (a working folder behind a symlink)."""
    hits = library.named(path)
    if not hits:
        folder, name = os.path.split(path)
        real = os.path.join(os.path.realpath(folder), name)
        hits = [] if real == path else library.named(real)
    return hits


def _nothing(library: Library, text: str, path: str) -> NothingMatched:
    if os.path.isdir(path):
        return NothingMatched(f"{shown(text)} is a folder", hint="name a notebook; see `nbguard list`")
    if os.path.lexists(path):
        from shlex import quote

        return NothingMatched(
            f"nothing was kept of {shown(text)} yet", hint=f"keep it now: nbguard snapshot {shown(quote(text))}"
        )
    near = _near(library, text)
    hint = "did you mean:\n" + listed(map(shown, near)) if near else "see `nbguard list` and `nbguard list --deleted`"
    return NothingMatched(f"no notebook matches {shown(text)}", hint=hint)


def _near(library: Library, text: str) -> list[str]:
    from difflib import get_close_matches

    wanted = os.path.basename(text).removesuffix(".ipynb").lower()
    by_name: dict[str, list[str]] = {}
    for deleted in (False, True):
        for entry in library.entries(deleted=deleted):
            name = os.path.basename(entry.path).removesuffix(".ipynb").lower()
            by_name.setdefault(name, []).append(entry.path)
    return [path for name in get_close_matches(wanted, by_name, n=5) for path in by_name[name]]
