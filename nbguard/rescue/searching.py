"""What the search among the user's files could not reach; it belongs to no source of its own."""

from __future__ import annotations

from dataclasses import dataclass

from nbguard.rescue.findings import Look, SourceName, Unavailable, Wanted
from nbguard.rescue.survey import Survey

_MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Searching:
    """Folders that permissions keep us out of: checkpoints and copies in them stay unseen."""

    survey: Survey

    @property
    def name(self) -> SourceName:
        return SourceName.CHECKPOINT

    def look(self, wanted: Wanted) -> Look:
        """Nothing is found here; what could not be searched is named."""
        unread = sorted(self.survey.unreadable)
        said = [f"{folder}: permission denied" for folder in unread[:_MOST_NAMED]]
        if len(unread) > _MOST_NAMED:
            said.append(f"{len(unread) - _MOST_NAMED} more folders: permission denied")
        if self.survey.stopped:
            said.append(self.survey.stopped)
        return Look((), tuple(Unavailable(self.name, each) for each in said))
