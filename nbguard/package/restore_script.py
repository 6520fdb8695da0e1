"""restore.py as it is shipped: the module beside this one, byte for byte, and what makes the zip itself runnable."""

from __future__ import annotations

import pkgutil

from nbguard.errors import NbguardError

_FOUND = pkgutil.get_data("nbguard.package", "restore.py")
if _FOUND is None:
    raise NbguardError("nbguard is not installed whole: restore.py is missing", hint="install it again")
RESTORE: bytes = _FOUND
"""Read when this module is imported: later, the installation itself may be gone."""

MAIN = b'''"""Makes `python3 nbguard-package.zip --verify` work without unpacking."""

import sys

import restore

sys.exit(restore.main())
'''
