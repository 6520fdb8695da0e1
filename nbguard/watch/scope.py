"""Which files under a root are notebooks, and which folders are looked into. Names in, answers out; no disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable

from nbguard.names import is_entered_name, is_notebook_name

_REMEMBERED_FOLDERS = 100_000

_ENVIRONMENT_NAMES = frozenset({"venv", "env", "virtualenv", "pyenv", "conda", "miniconda3", "anaconda3"})
_ENVIRONMENT_MACHINERY = frozenset({"bin", "include", "lib", "lib64", "share", "etc", "Include", "Lib", "Scripts"})


class Scope:
    """What is watched under one root.

    The root itself is always entered, wherever it lies: the user named it. ``ignore`` are gitignore patterns
    relative to the root; ``own_folders`` are nbguard's own, absolute, and never entered below a root.
    """

    def __init__(self, root: str, *, ignore: Iterable[str] = (), own_folders: Iterable[str] = ()) -> None:
        self.root = root
        self.prefix = root if root.endswith("/") else root + "/"
        self._own = frozenset(own_folders) - {root}
        self._ignored = _matcher(tuple(ignore))
        self._entered: dict[str, bool] = {root: True}

    def is_notebook(self, path: str) -> bool:
        """Whether the file ``path``, in a folder that is entered, is taken for a notebook."""
        if not is_notebook_name(os.path.basename(path)):
            return False
        return self._ignored is None or not self._ignored(path[len(self.prefix) :])

    def enters(self, folder: str) -> bool:
        """Whether ``folder``, whose parent is entered, is looked into."""
        if folder in self._own or not is_entered_name(os.path.basename(folder)):
            return False
        return self._ignored is None or not self._ignored(folder[len(self.prefix) :] + "/")

    def covers(self, path: str, closed: Collection[str] = ()) -> bool:
        """Whether ``path`` is a notebook of this root, all its folders considered.

        ``closed`` are folders that a look inside showed to be somebody's environment.
        """
        return path.startswith(self.prefix) and self.is_notebook(path) and self.reaches(os.path.dirname(path), closed)

    def reaches(self, folder: str, closed: Collection[str] = ()) -> bool:
        """Whether a walk from the root comes to ``folder``."""
        known = self._entered.get(folder)
        if known is None:
            if not folder.startswith(self.prefix):
                return False
            known = self.enters(folder) and self.reaches(os.path.dirname(folder))
            if len(self._entered) > _REMEMBERED_FOLDERS:
                self._entered = {self.root: True}
            self._entered[folder] = known
        if known and closed:
            while folder != self.root:
                if folder in closed:
                    return False
                folder = os.path.dirname(folder)
        return known

    def below(self, path: str, names: Collection[str], folders: Iterable[str]) -> tuple[list[str], list[str]]:
        """For an entered folder with these names in it, ``folders`` among them: what is entered below it, and what
        its contents show to be closed (itself, when all of it is an environment)."""
        inside = closed_by_contents(os.path.basename(path), names)
        if inside is True and path != self.root:
            return [], [path]
        prefix = path if path.endswith("/") else path + "/"
        entered = [prefix + name for name in folders]
        entered = [folder for folder in entered if self.enters(folder)]
        if not isinstance(inside, frozenset) or not inside:
            return entered, []
        closed = [folder for folder in entered if os.path.basename(folder) in inside]
        return [folder for folder in entered if folder not in closed], closed


def closed_by_contents(folder_name: str, names: Collection[str]) -> bool | frozenset[str]:
    """What the names in a folder say of it: True means all of it is an environment and is not looked into;
    otherwise the names of the subfolders that are not.

    ``python -m venv .`` in a project puts pyvenv.cfg beside the project's notebooks, so only a folder that is also
    called like an environment is closed altogether; of any other, just the environment's own subfolders.
    """
    if "conda-meta" in names:
        return True
    if "pyvenv.cfg" not in names:
        return frozenset()
    return folder_name.lower() in _ENVIRONMENT_NAMES or _ENVIRONMENT_MACHINERY


def _matcher(patterns: tuple[str, ...]) -> Callable[[str], bool] | None:
    if not patterns:
        return None
    import pathspec

    spec = pathspec.GitIgnoreSpec.from_lines(patterns)
    return lambda relative: bool(spec.match_file(relative))
