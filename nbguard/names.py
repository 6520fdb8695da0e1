"""What a file's or folder's name alone says: a notebook, a leftover of one, or a place that holds none of ours."""

from __future__ import annotations

import os

SUFFIX = ".ipynb"
CHECKPOINTS = ".ipynb_checkpoints"

_NEVER_ENTERED = frozenset({"node_modules", "site-packages", "__pycache__", "lost+found", "Trash"})


def is_notebook_name(name: str) -> bool:
    """Whether a file of this name is taken for a notebook.

    Jupyter's ``.~X.ipynb`` and every other hidden file are not, nor is jupytext's ``X_tmp_jupytext_PID.ipynb``.
    ``X.ipynb~``, ``X.ipynb.invalid``, ``.X.ipynb.a1B2c3`` and ``sedXXXXXX`` do not end in ``.ipynb`` at all.
    """
    return name.endswith(SUFFIX) and not name.startswith(".") and "_tmp_jupytext_" not in name


def is_entered_name(name: str) -> bool:
    """Whether a folder of this name may hold notebooks: not hidden, not trash, not a package manager's."""
    return not name.startswith(".") and name not in _NEVER_ENTERED


def checkpoint_of(path: str) -> str:
    """Where Jupyter keeps its one checkpoint of a notebook."""
    folder, name = os.path.split(path)
    stem = name[: -len(SUFFIX)] if name.endswith(SUFFIX) else name
    return os.path.join(folder, CHECKPOINTS, f"{stem}-checkpoint{SUFFIX}")


def leftovers_of(path: str) -> tuple[str, ...]:
    """Files beside a notebook that may hold what it no longer does, the likeliest first.

    ``.~X.ipynb`` is the copy Jupyter makes before it truncates X; ``X.ipynb~`` is vim's backup; ``X.ipynb.invalid``
    is what Jupyter moves a broken X to when it heals it from the copy.
    """
    folder, name = os.path.split(path)
    return (os.path.join(folder, f".~{name}"), path + "~", path + ".invalid")


def notebook_of_leftover(name: str) -> str | None:
    """The notebook's name that a leftover belongs to; None when this name is no leftover."""
    for candidate in (
        name[2:] if name.startswith(".~") else "",
        name[:-1] if name.endswith("~") else "",
        name.removesuffix(".invalid") if name.endswith(".invalid") else "",
    ):
        if candidate and is_notebook_name(candidate):
            return candidate
    return None
