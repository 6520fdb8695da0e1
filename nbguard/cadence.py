"""The cadence of calendar work, kept by APScheduler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarJob:
    """Calendar work: ``run`` only asks a worker to do it, so that no job ever hangs."""

    name: str
    every_seconds: float
    run: Callable[[], None]


class Calendar:
    """APScheduler, kept small: jobs that only knock on a worker's door."""

    def __init__(self, jobs: Sequence[CalendarJob]) -> None:
        from apscheduler.schedulers.background import BackgroundScheduler

        self._jobs = jobs
        # misfire_grace_time=None: by default a job that is a second late (a laptop woke up) is dropped for good.
        self._scheduler = BackgroundScheduler(
            timezone="UTC", job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )
        for job in jobs:
            self._scheduler.add_job(job.run, "interval", seconds=job.every_seconds, id=job.name)
        self._scheduler.start()

    def reset(self) -> None:
        """Run everything now and count from here."""
        for job in self._scheduler.get_jobs():
            job.modify(next_run_time=datetime.now(UTC))

    def stop(self) -> None:
        self._scheduler.shutdown(wait=False)

    def is_alive(self) -> bool:
        """Whether its thread is there: of a scheduler whose thread died, ``running`` stays true."""
        thread = self._scheduler._thread
        return thread is not None and bool(thread.is_alive())
