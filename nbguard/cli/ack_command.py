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
_ELSEWHERE = "type it as it stands in the newest message; who sent it tells the mirror within ten minutes"
_IN_A_MESSAGE = re.compile(r"nbguard ack ([0-9A-Za-z]{4}-[0-9A-Za-z]{4})\b")


@click.command()
@click.argument("code", nargs=-1)
@click.option("--page", is_flag=True, help="Show a page on this machine that takes the code.")
@click.option("--mirror", metavar="URL", multiple=True, help="Answer a machine that mirrors there.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The page's port; by default a free one.")
@json_option
@click.pass_obj
def command(
    context: Context, *, code: tuple[str, ...], page: bool, mirror: tuple[str, ...], port: int, as_json: bool
) -> int:
    """Answer a message with its CODE: somebody has read it. `-` reads a whole message from stdin.

    Upper or lower case, with or without the dash, 0 for O and 1 for I or L are all the same. An incident is silent from
    then on, but only that one; a roll call is answered for this channel. A code that came from another machine is put
    into the mirror that both have, where that one finds it.

    Exit codes: 0 heard, 1 wrong, expired, or too many wrong ones, 2 no code.
    """
    from nbguard import app_alert
    from nbguard.alert.answering import Answered, Outcome, words_of

    if context.look_past_settings() is not None:  # that it is broken may be what the message says
        from nbguard.app_check import with_last_settings

        context = with_last_settings(context)
    if page:
        return app_alert.serve_page(context, port=port, say=say)
    typed = _typed(code)
    if mirror:
        return _answer_elsewhere(context, typed, mirror, as_json=as_json)
    if app_alert.has_told(context):
        answered = app_alert.open_desk(context).answer(typed)
    else:  # and nothing is made here by asking
        answered = Answered(outcome=Outcome.UNKNOWN)
    if answered.outcome is Outcome.UNKNOWN and context.settings is not None and context.settings.mirrors:
        return _answer_elsewhere(context, typed, (), as_json=as_json)
    if as_json:
        print_json(_fields(answered))
    if not answered.is_accepted and answered.outcome is not Outcome.ALREADY:
        raise NothingMatched(words_of(answered), hint=_HINTS[answered.outcome])
    if not as_json:
        print_line(words_of(answered))
    return 0


def _answer_elsewhere(context: Context, typed: str, urls: tuple[str, ...], *, as_json: bool) -> int:
    """A code that another machine asked for, put into a mirror that it has."""
    from nbguard.app_elsewhere import answer_elsewhere

    there = answer_elsewhere(context, typed, urls)
    if there is None:
        if as_json:
            print_json({"outcome": "unknown", "accepted": False, "channel": None, "human": None, "incidents": []})
        raise NothingMatched("that is no code of a message from here, nor of a machine in the mirror", hint=_ELSEWHERE)
    if as_json:
        fields = {"channel": there.channel, "human": there.human, "asked_by": there.asked_by, "incidents": []}
        print_json({"outcome": "forwarded", "accepted": True, **fields})
    else:
        print_line(f"thank you: {there.asked_by} will find it in the mirror, within a quarter of an hour or so")
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
