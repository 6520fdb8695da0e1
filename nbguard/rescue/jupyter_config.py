"""Where Jupyter is told to keep checkpoints. Its configuration is read, and never executed."""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nbguard.names import CHECKPOINTS
from nbguard.rescue.reading import read_regular

_MOST_BYTES = 4_000_000
_KEY = "checkpoint_dir"


@dataclass(frozen=True, slots=True)
class CheckpointPlaces:
    """``relative`` are folders beside a notebook, ``shared`` absolute ones that hold the checkpoints of all notebooks;
    ``unclear`` says which settings could not be understood."""

    relative: tuple[str, ...] = (CHECKPOINTS,)
    shared: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()

    def beside(self, folder: str) -> str:
        """The folder of the notebooks whose checkpoints lie in ``folder``."""
        for relative in self.relative:
            if folder.endswith("/" + relative):
                return folder[: -len(relative) - 1] or "/"
        return os.path.dirname(folder)

    def names(self) -> frozenset[str]:
        """What such folders are called."""
        return frozenset(os.path.basename(relative) for relative in self.relative)


def checkpoint_places(environment: Mapping[str, str], home: str, prefix: str) -> CheckpointPlaces:
    """What the configurations of this user and this machine say; the rules of jupyter_core for where they lie."""
    relative, shared, unclear = [CHECKPOINTS], list[str](), list[str]()
    for path in _files(_folders(environment, home, prefix)):
        try:
            text = read_regular(path, _MOST_BYTES).decode("utf-8")
            said = list(_from_json(text) if path.endswith(".json") else _from_python(text))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, SyntaxError, RecursionError, MemoryError) as error:
            unclear.append(f"{path} cannot be read ({type(error).__name__}); it may name a folder for checkpoints")
            continue
        for value in said:
            if value is None:
                unclear.append(f"{path} sets {_KEY} to something that is not plain text")
            elif os.path.isabs(value):
                shared.append(os.path.normpath(value))
            elif value.strip("/."):
                relative.append(os.path.normpath(value))
    return CheckpointPlaces(tuple(dict.fromkeys(relative)), tuple(dict.fromkeys(shared)), tuple(unclear))


def _folders(environment: Mapping[str, str], home: str, prefix: str) -> list[str]:
    own = environment.get("JUPYTER_CONFIG_DIR") or os.path.join(home, ".jupyter")
    more = [folder for folder in environment.get("JUPYTER_CONFIG_PATH", "").split(os.pathsep) if folder]
    usual = [os.path.join(home, ".local", "etc", "jupyter"), os.path.join(prefix, "etc", "jupyter")]
    return list(dict.fromkeys([own, *more, *usual, "/usr/local/etc/jupyter", "/etc/jupyter"]))


def _files(folders: list[str]) -> Iterator[str]:
    for folder in folders:
        for stem in ("jupyter_config", "jupyter_server_config", "jupyter_notebook_config", "jupyter_lab_config"):
            for name in (f"{stem}.json", f"{stem}.py"):
                if os.path.lexists(os.path.join(folder, name)):
                    yield os.path.join(folder, name)
            parts = os.path.join(folder, f"{stem}.d")
            if os.path.isdir(parts):
                try:
                    yield from (os.path.join(parts, name) for name in sorted(os.listdir(parts)) if name[-5:] == ".json")
                except OSError:
                    continue


def _from_json(text: str) -> Iterator[str | None]:
    table = json.loads(text) if text.strip() else {}
    for section in table.values() if isinstance(table, dict) else ():
        if isinstance(section, dict) and _KEY in section:
            value = section[_KEY]
            yield value if isinstance(value, str) and "\0" not in value else None


def _from_python(text: str) -> Iterator[str | None]:
    for node in ast.walk(ast.parse(text)):
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.Assign) and any(isinstance(at, ast.Attribute) and at.attr == _KEY for at in targets):
            yield _plain(node.value)


def _plain(value: ast.expr) -> str | None:
    """A text constant, also inside ``os.path.expanduser(…)``; None for anything that would have to be executed."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str) and "\0" not in value.value:
        return value.value
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr == "expanduser":
        inner = _plain(value.args[0]) if len(value.args) == 1 else None
        return os.path.expanduser(inner) if inner is not None else None
    return None
