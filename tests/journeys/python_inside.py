"""A Python of its own inside a home: interpreter, standard library, packages and nbguard, gone when the home is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.helpers import REPOSITORY

_LEFT_OUT = ("site-packages", "dist-packages", "test", "idlelib", "tkinter", "turtledemo", "ensurepip")


def python_inside(folder: Path) -> Path:
    """Make it in ``folder`` and return the interpreter. Links where the file system allows it: it takes seconds."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library, packages = folder / "lib" / version, folder / "lib" / version / "site-packages"
    library.mkdir(parents=True)
    packages.mkdir()
    stdlib = Path(sysconfig.get_path("stdlib"))
    _copy([entry for entry in stdlib.iterdir() if entry.name not in _LEFT_OUT], library)
    for found in dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))):
        kept = [entry for entry in Path(found).iterdir() if not entry.name.startswith(("_editable_", "__editable__"))]
        _copy([entry for entry in kept if not (packages / entry.name).exists()], packages)
    shutil.rmtree(packages / "nbguard", ignore_errors=True)  # where nbguard is installed editable: its templates
    shutil.copytree(REPOSITORY / "nbguard", packages / "nbguard", ignore=shutil.ignore_patterns("__pycache__"))
    if (share := Path(sys.prefix) / "share" / "jupyter").is_dir():
        (folder / "share").mkdir()
        _copy([share], folder / "share")
    python = folder / "bin" / version
    python.parent.mkdir()
    shutil.copy2(os.path.realpath(sys.executable), python)
    return python


def _copy(entries: list[Path], target: Path) -> None:
    words = [*(str(entry) for entry in entries), str(target)]
    if subprocess.run(["cp", "-al", *words], capture_output=True, check=False).returncode:
        subprocess.run(["cp", "-a", "--remove-destination", *words], check=True)
