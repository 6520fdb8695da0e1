"""The text of unit files: templates with names between at-signs, filled in so that systemd reads the very words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from nbguard.errors import Refused

UNIT = "nbguard.service"
_PLACE = re.compile(r"@([A-Z]+)@")


def render(template: str, *, command: Sequence[str], environment: Mapping[str, str]) -> str:
    """The unit: ``@COMMAND@`` and ``@ENVIRONMENT@`` filled in. Raises Refused for words that no unit file can hold."""
    values = {
        "COMMAND": " ".join(_word(word, is_argument=number > 0) for number, word in enumerate(command)),
        "ENVIRONMENT": "\n".join(
            f"Environment={_word(f'{name}={value}')}" for name, value in sorted(environment.items())
        ),
    }
    filled = _PLACE.sub(lambda found: values[found[1]], template)
    return re.sub(r"\n{3,}", "\n\n", filled)


def _word(text: str, *, is_argument: bool = False) -> str:
    """One word in double quotes: systemd.syntax(7), systemd.unit(5) on percent signs, systemd.service(5) on dollars.

    Variables are put into arguments only: a doubled dollar in the program's own path would stay two.
    """
    if not text.isprintable():
        raise Refused(f"{text!a} cannot stand in a unit file", hint="use paths without control characters")
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    if is_argument:
        quoted = quoted.replace("$", "$$")
    return f'"{quoted}"'
