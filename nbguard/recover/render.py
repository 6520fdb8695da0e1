"""One notebook as text to read: py:percent and Markdown. Nothing is run, nothing is loaded."""

from __future__ import annotations

import re

from nbguard.errors import NothingMatched
from nbguard.inert import plain
from nbguard.recover.cells import Cell, Cells, Output, read_cells

_MAGIC = re.compile(r"\s*(%|!)|.*\?\s*$")


def readable(data: bytes) -> Cells:
    """The cells of a version. Raises NothingMatched when its bytes are no notebook."""
    cells = read_cells(data)
    if cells is None:
        raise NothingMatched(
            "this version is damaged: it is no readable notebook",
            hint="`nbguard show NOTEBOOK WHEN` gives its bytes as they are; `last-good` names the last good one",
        )
    return cells


def as_py(data: bytes) -> str:
    """py:percent, as jupytext writes it: magics and text are comments, so that it is valid Python. Raises
    NothingMatched."""
    notebook = readable(data)
    python = notebook.language.lower() in ("python", "ipython", "python3")
    parts = []
    for cell in notebook.cells:
        if cell.kind == "code":
            parts.append("# %%\n" + (_code(cell.source) if python else cell.source))
        else:
            kind = "raw" if cell.kind == "raw" else "markdown"
            parts.append(f"# %% [{kind}]\n" + _commented(cell.source))
    return "\n\n".join(part.rstrip("\n") for part in parts) + ("\n" if parts else "")


def as_md(data: bytes) -> str:
    """Markdown: text as it is, code and outputs in fences. Raises NothingMatched."""
    notebook = readable(data)
    parts = []
    for cell in notebook.cells:
        if cell.kind == "code":
            parts.append(_fenced(cell.source, notebook.language))
            parts.extend(text for output in cell.outputs if (text := _output(output)))
        elif cell.kind == "raw":
            parts.append(_fenced(cell.source, ""))
        else:
            parts.append(cell.source.rstrip("\n"))
    return "\n\n".join(parts) + ("\n" if parts else "")


def others(output: Output) -> str:
    """A note on representations that are not shown."""
    return ", ".join(sorted(mime for mime, value in output.rich.items() if value))


def title(cells: Cells, fallback: str) -> str:
    """The first heading, else ``fallback``."""
    for cell in cells.cells:
        if cell.kind in ("markdown", "heading"):
            for line in cell.source.splitlines():
                if line.startswith("# "):
                    return line[2:].strip()
    return fallback


def _code(source: str) -> str:
    if source.lstrip().startswith("%%"):
        return _commented(source)
    return "\n".join(f"# {line}" if _MAGIC.match(line) else line for line in source.split("\n"))


def _commented(source: str) -> str:
    return "\n".join(f"# {line}".rstrip() for line in source.split("\n"))


def _fenced(text: str, language: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    word = re.sub(r"[^A-Za-z0-9+#.-]", "", language)
    body = text.rstrip("\n")
    return f"{fence}{word}\n{body}\n{fence}"


def _output(output: Output) -> str:
    if output.text:
        return _fenced(plain(output.text), "text")
    hidden = others(output)
    return f"*output not shown: {hidden}*" if hidden else ""


def cell_label(cell: Cell) -> str:
    """``In [3]`` for code, the kind for the rest."""
    return f"In [{' ' if cell.count is None else cell.count}]" if cell.kind == "code" else cell.kind
