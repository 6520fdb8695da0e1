"""wall: a few lines on every terminal of this machine. Only where it was asked for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

import psutil

from nbguard.alert.program import run_program
from nbguard.alert.route import BadChannel, Route
from nbguard.alerting import Message, Sent


def wall_route(environment: Mapping[str, str], timeout_seconds: float) -> Route:
    """A route through wall(1), which says yes also when nobody is there: then it counts as not sent.

    Raises BadChannel when there is no wall.
    """
    program = shutil.which("wall", path=environment.get("PATH", os.defpath))
    if program is None:
        raise BadChannel("there is no program wall", hint="use another channel", for_good=False)

    def send(message: Message) -> Sent:
        if not any(user.terminal for user in psutil.users()):
            return Sent(is_sent=False, answer="nobody is logged in at a terminal")
        typed = f"{message.title}\n{message.body}\n".encode("utf-8", "replace")
        try:
            ended = run_program([program], typed=typed, environment=environment, timeout_seconds=timeout_seconds)
        except OSError as error:
            return Sent(is_sent=False, answer=f"wall: {error.strerror or error}")
        code = "its time was over" if ended.code is None else ended.code
        return Sent(is_sent=ended.code == 0, answer=f"wall: {code} {' '.join(ended.said.split())}".rstrip())

    return Route(send=send)
