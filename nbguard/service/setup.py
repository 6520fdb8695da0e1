"""Setting up: which folders, and the configuration that says so, written durably and never over another one."""

from __future__ import annotations

import os
from collections.abc import Sequence

from nbguard.durable import make_private_folder, replace_durably
from nbguard.errors import BadConfiguration, UsageError, storage_trouble
from nbguard.service.folders import Proposal
from nbguard.settings_reading import load_settings
from nbguard.settings_writing import minimal_configuration, with_roots


def checked_roots(given: Sequence[str], home: str) -> tuple[str, ...]:
    """Absolute paths of folders that are there, each once. Raises UsageError."""
    roots = []
    for path in given:
        root = os.path.abspath(os.path.join(home, path[2:]) if path.startswith("~/") else home if path == "~" else path)
        if not os.path.isdir(root):
            raise UsageError(f"{path} is not a folder", hint="give --watch a folder that is there")
        roots.append(root)
    return tuple(dict.fromkeys(roots))


def choose(answer: str, proposals: Sequence[Proposal], home: str) -> tuple[str, ...]:
    """What a person typed at the proposals: ``all``, numbers or paths, with commas between. Raises UsageError."""
    words = [word.strip() for word in answer.split(",") if word.strip()]
    if not words:
        raise UsageError("no folder was chosen", hint="type numbers or paths, with commas between")
    chosen: list[str] = []
    for word in words:
        if word.lower() == "all" and proposals:
            chosen += [proposal.path for proposal in proposals]
        elif word.isdecimal() and 1 <= int(word) <= len(proposals):
            chosen.append(proposals[int(word) - 1].path)
        else:
            chosen.append(word)
    return checked_roots(chosen, home)


def configuration_with(path: str, roots: tuple[str, ...]) -> bytes:
    """The bytes of the configuration at ``path`` once ``roots`` are in it; its own bytes when they already are.

    Raises BadConfiguration when there is one that cannot be used.
    """
    if load_settings(path) is None:
        return minimal_configuration(roots)
    with open(path, "rb") as file:
        return with_roots(file.read(), path, roots)


def write_configuration(path: str, data: bytes) -> bool:
    """Put it there durably, readable by its owner alone; False when it already said just that.

    A configuration that is a symlink (kept with somebody's dotfiles) is written where it leads. Raises StorageTrouble.
    """
    target = os.path.realpath(path)
    try:
        with open(target, "rb") as file:
            if file.read() == data:
                return False
    except FileNotFoundError:
        pass
    except OSError as error:
        raise BadConfiguration(f"cannot read {path}: {error.strerror}", hint="check its permissions") from error
    try:
        make_private_folder(os.path.dirname(target))
        replace_durably(target, data)
    except OSError as error:
        raise storage_trouble(error, f"writing {path}") from error
    return True
