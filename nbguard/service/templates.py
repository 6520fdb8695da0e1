"""Where the templates of units and agents are: inside an installed wheel, or beside the package in a checkout."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from nbguard.errors import NbguardError


def template(kind: str, name: str) -> str:
    """The text of ``systemd/NAME`` or ``launchd/NAME``. Raises NbguardError when the installation is not whole."""
    shipped = files("nbguard").joinpath("_service", kind, name)
    if shipped.is_file():
        return shipped.read_text("utf-8")
    checkout = Path(__file__).resolve().parent.parent.parent
    beside = checkout / kind / name
    if beside.is_file() and (checkout / "pyproject.toml").is_file():
        return beside.read_text("utf-8")
    raise NbguardError(f"{kind}/{name} is not in this installation of nbguard", hint="install nbguard anew")
