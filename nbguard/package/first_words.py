"""READ-ME-FIRST.txt: for a person in distress, who may never have heard of nbguard."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from nbguard.package.contents import Missing

_MOST_NAMED = 50

_TEXT = """READ ME FIRST

Your notebooks are in this package. Nothing you do to it can harm them further.

1. Make a copy of the zip file and put it on another disk. Then go on.
2. Unpack it with whatever unpacks zip files here: a double click, or `unzip`.
3. Open the folder `notebooks`. Every notebook is there at the path it had, for example
   notebooks/home/ada/work/eda.ipynb, and opens in Jupyter or VS Code like any other.

Not the state you were looking for? Open index.html in a browser: it lists every state that was kept, with its time,
and links to it.

What is where
{places}
Is every file as it was written?

    python3 restore.py --verify

Unpack with a check of every file, nothing overwritten (any Python 3.8 or newer, nothing to install):

    python3 restore.py --to ~/rescued

Without unpacking first, `python3 THIS.zip --verify` does the same.
{git}
Good to know
- While a notebook is still open in a browser tab, do not close that tab and do not save: it may hold more than any
  file.
- While a kernel still runs, do not restart it: your variables and commands are still in it.
- In names, characters that some systems refuse are written as %XX; MANIFEST.json has every exact path.
- This package holds what was in your notebooks, outputs included. It is not encrypted: mind where you send it.

Made {made_at} (UTC) by {made_by}: {counts}{as_of}.
{missing}{not_made}"""

_PLACES = {
    "notebooks": "each notebook, in its last good state",
    "versions": "every state of every notebook that was kept, the time in its name",
    "pages": "each notebook as a web page to read, if there is nothing to open notebooks with",
    "rebuilt": "notebooks put together from what was executed and what was shown, saved or not",
    "executed": "every command that was run, as .py and as .ipynb",
    "databases": "IPython's history databases, whole",
    "bundle": "the same history for git",
    "index.html": "what was kept when; open it in a browser",
    "restore.py": "checks and unpacks this package",
    "MANIFEST.json": "path, time, size, SHA-256 and source of every file here",
}

_GIT = """
Everything as a git repository, a commit for each state:

    git clone bundle/notebooks.bundle history
"""


def first_words(
    *,
    places: Sequence[str],
    counts: str,
    made_at: datetime,
    made_by: str,
    at: datetime | None,
    missing: Sequence[Missing],
    not_made: Sequence[Missing],
) -> str:
    """The text. ``places`` are the top names that are in the package."""
    rows = [f"  {name:15} {words}" for name, words in _PLACES.items() if name in places]
    return _TEXT.format(
        places="\n".join(rows) + "\n",
        git=_GIT if "bundle" in places else "",
        made_at=f"{made_at:%Y-%m-%d %H:%M:%S}",
        made_by=made_by,
        counts=counts,
        as_of="" if at is None else f", as of {at:%Y-%m-%d %H:%M:%S} (UTC)",
        missing=_missing(missing),
        not_made="\n".join(_listed("Not made, because of its size (what it is made from is here):", not_made)),
    )


def _missing(missing: Sequence[Missing]) -> str:
    if not missing:
        return "Nothing that was asked for is missing.\n"
    return "\n".join(_listed("NOT IN THIS PACKAGE, because it could not be read:", missing))


def _listed(heading: str, items: Sequence[Missing]) -> list[str]:
    if not items:
        return []
    lines = ["", heading]
    for item in items[:_MOST_NAMED]:
        when = "" if item.time is None else f" of {item.time:%Y-%m-%d %H:%M:%S}"
        whose = "" if item.path is None else f", {shown(item.path)}"
        lines.append(f"- {item.what}{when}{whose}: {shown(item.reason)}")
    rest = len(items) - _MOST_NAMED
    if rest > 0:
        lines.append(f"- and {rest} more; MANIFEST.json has them all")
    return [*lines, ""]


def shown(text: str) -> str:
    """Text on one line, without terminal escapes and without what is not UTF-8."""
    return text if text.isprintable() else ascii(text)[1:-1]
