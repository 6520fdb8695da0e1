"""A process that observes and sends without end: `python -m tests.alert.killed_worker FOLDER`."""

from __future__ import annotations

import os
import sys

from nbguard.alert.desk import AlertDesk
from nbguard.alert.store import AlertStore
from nbguard.alerting import Message, Observation, Observer, Sent, Weighed, Weight
from nbguard.clock import SystemClock
from nbguard.model import Problem
from nbguard.processes import boot_id
from nbguard.settings import Alerts, Channel, RollCall

SUBJECTS = 40
MORE = "more"


class Box:
    """A channel that takes everything: a line in a file for each subject that it was told of."""

    def __init__(self, path: str) -> None:
        self._path = path

    def send(self, channel: Channel, message: Message) -> Sent:
        told = [f"{number}\n" for number in range(SUBJECTS) if f"/n{number}.ipynb:" in message.body]
        if "There is more" in message.body:
            told.append(f"{MORE}\n")
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(fd, "".join(told).encode())
        os.close(fd)
        return Sent(is_sent=True, answer="ok")


def main(folder: str) -> None:
    clock = SystemClock()
    desk = AlertDesk(
        AlertStore(os.path.join(folder, "alerts.json")),
        channels=(Channel(name="box", human="ada", url="json://box"),),
        sender=Box(os.path.join(folder, "box")),
        alerts=Alerts(),
        calls=RollCall(),
        clock=clock,
        boot=boot_id(),
        host="castor",
    )
    for number in range(SUBJECTS):
        problem = Problem(
            code=f"code-{number}", message="gone", hint="", since=clock.now(), subject=f"/n{number}.ipynb"
        )
        found = Weighed(problem=problem, weight=Weight.GAP)
        desk.observe(
            Observation(
                observer=Observer.FULL,
                at=clock.now(),
                boot=boot_id(),
                boottime_ns=clock.boottime_ns(),
                found=(found,),
                sees=frozenset(),
            )
        )
        desk.step()


if __name__ == "__main__":
    main(sys.argv[1])
