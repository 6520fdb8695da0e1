"""A command of the user's as a channel: the message on stdin, what it is about in NBGUARD_ALERT_*."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from nbguard.alert.program import run_program
from nbguard.alert.route import BadChannel, Route
from nbguard.alerting import Message, Sent


def command_route(words: Sequence[str], environment: Mapping[str, str], timeout_seconds: float) -> Route:
    """A route for a command's words. Raises BadChannel when there is no such program."""
    program = _find(words[0], environment)

    def send(message: Message) -> Sent:
        about = {
            "NBGUARD_ALERT_KIND": str(message.kind),
            "NBGUARD_ALERT_TITLE": _printable(message.title),
            "NBGUARD_ALERT_CODE": message.code or "",
        }
        typed = f"{message.title}\n\n{message.body}\n".encode("utf-8", "replace")
        try:
            ended = run_program(
                [program, *words[1:]],
                typed=typed,
                environment={**environment, **about},
                timeout_seconds=timeout_seconds,
            )
        except OSError as error:
            return Sent(is_sent=False, answer=f"{words[0]}: {error.strerror or error}")
        if ended.code is None:
            return Sent(is_sent=False, answer=f"{words[0]} was ended: it took over {timeout_seconds:g} s")
        return Sent(is_sent=ended.code == 0, answer=f"{words[0]} ended with {ended.code}", printed=ended.said)

    return Route(send=send)


def _find(word: str, environment: Mapping[str, str]) -> str:
    import shutil

    word = os.path.expanduser(word)
    found = shutil.which(word, path=environment.get("PATH", os.defpath))
    if found is None:
        hint = "give its whole path: a service has a PATH of its own"
        raise BadChannel(f"there is no program {word!r}", hint=hint, for_good=False)
    return os.path.abspath(found)


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")
