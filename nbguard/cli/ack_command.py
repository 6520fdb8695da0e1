"""`nbguard ack`: a human answers a message with the code that is in it."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import click

from nbguard.cli.asking import json_option
from nbguard.cli.context import Context
from nbguard.cli.output import print_json, print_line, say
from nbguard.errors import NothingMatched, UsageError

if TYPE_CHECKING:
    from nbguard.alert.answering import Answered

_MOST_CHARACTERS = 1_000_000
_HINTS = {
    "expired": "have a new one sent: nbguard alert test",
    "too-many": "then type it as it stands in the message",
    "unknown": "type it as it stands in the newest message, on the machine that it came from",
}
_IN_A_MESSAGE = re.compile(r"nbguard ack ([0-9A-Za-z]{4}-[0-9A-Za-z]{4})\b")


@click.command()
@click.argument("code", nargs=-1)
@click.option("--page", is_flag=True, help="Show a page on this machine that takes the code.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The page's port; by default a free one.")
@json_option
@click.pass_obj
def command(context: Context, *, code: tuple[str, ...], page: bool, port: int, as_json: bool) -> int:
    """Answer a message with its CODE: somebody has read it. `-` reads a whole message from stdin.

    Upper or lower case, with or without the dash, 0 for O and 1 for I or L are all the same. An incident is silent from
    then on, but only that one; a roll call is answered for this channel.

    Exit codes: 0 heard, 1 wrong, expired, or too many wrong ones, 2 no code.
    """
    from nbguard import app_alert
    from nbguard.alert.answering import Outcome, words_of

    if page:
        return app_alert.serve_page(context, port=port, say=say)
    answered = app_alert.open_desk(context).answer(_typed(code))
    if as_json:
        print_json(_fields(answered))
    if not answered.is_accepted and answered.outcome is not Outcome.ALREADY:
        raise NothingMatched(words_of(answered), hint=_HINTS[answered.outcome])
    if not as_json:
        print_line(words_of(answered))
    return 0


def _typed(code: tuple[str, ...]) -> str:
    if code == ("-",):
        found = _IN_A_MESSAGE.search(sys.stdin.read(_MOST_CHARACTERS))
        if found is None:
            raise UsageError("there is no code in that message", hint="nbguard ack CODE")
        return found[1]
    typed = "".join(code)
    if not typed:
        raise UsageError("there is no code", hint="nbguard ack CODE, as it stands in the message")
    return typed


def _fields(answered: Answered) -> dict[str, object]:
    return {
        "outcome": str(answered.outcome),
        "accepted": answered.is_accepted,
        "channel": answered.channel or None,
        "human": answered.human or None,
        "incidents": [
            {"code": each.code, "message": each.message, "subject": each.subject} for each in answered.incidents
        ],
        "silent_seconds": answered.silent_seconds,
    }
