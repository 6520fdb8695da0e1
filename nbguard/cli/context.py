"""What every command is given: places, settings and how to speak. Only here is the environment read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property

from nbguard.errors import BadConfiguration
from nbguard.places import Places, find_places
from nbguard.settings import Settings
from nbguard.settings_reading import load_settings


@dataclass(frozen=True)
class Context:
    """Options that stand before the command. ``home`` is NBGUARD_HOME, ``config`` is --config."""

    home: str | None
    config: str | None

    @staticmethod
    def from_environment(config: str | None) -> Context:
        return Context(home=os.environ.get("NBGUARD_HOME") or None, config=config)

    @cached_property
    def settings(self) -> Settings | None:
        """The configuration, or None when there is none. Raises BadConfiguration."""
        return load_settings(find_places(home=self.home, config=self.config).config)

    @cached_property
    def places(self) -> Places:
        """Where everything is, after what the configuration says of it."""
        from dataclasses import replace

        found = find_places(home=self.home, config=self.config)
        settings = self.settings
        if settings is None:
            return found
        return replace(
            found, archive=settings.archive or found.archive, emergency=settings.emergency or found.emergency
        )

    def look_past_settings(self) -> BadConfiguration | None:
        """For commands that say what is wrong: a configuration that cannot be used is given back, and from now on it is
        as if there were none."""
        try:
            _ = self.settings
        except BadConfiguration as error:
            self.__dict__["settings"] = None
            return error
        return None

    def look_again(self) -> None:
        """Forget the places: a new archive has an id, and the emergency place is named after it."""
        self.__dict__.pop("places", None)
