"""Work that may hang, as on a network mount that is gone: it is waited for so long, and then left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from nbguard.errors import NbguardError

_Answer = TypeVar("_Answer")


class TookTooLong(NbguardError):
    """It did not answer in time; whatever it does, it does for nobody now."""

    code = "not-looked-at"


def within(seconds: float, work: Callable[[], _Answer], what: str) -> _Answer:
    """The answer of ``work``, or what it raises. Raises TookTooLong.

    The thread that hangs stays behind; it does not keep the process from ending.
    """
    answers: list[_Answer] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again for whoever waits
            errors.append(error)

    thread = threading.Thread(target=run, name=f"looking at {what}", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise TookTooLong(
            f"{what} did not answer within {seconds:.0f} s",
            hint="see whether the disk or network behind it answers",
        )
    return answers[0]
