"""The configuration as frozen dataclasses; settings_reading.py and settings_writing.py are its TOML."""

from __future__ import annotations

from dataclasses import dataclass, field

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes, in bytes unless named otherwise."""

    stream_over_bytes: int = 8_000_000
    slow_over_bytes: int = 20_000_000
    refuse_over_bytes: int = 512_000_000
    slow_interval_seconds: float = 600.0
    reserve_bytes: int = 256_000_000
    reserve_percent: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """How often, in seconds."""

    sweep_seconds: float = 240.0
    guard_seconds: float = 20.0
    heartbeat_seconds: float = 10.0
    pack_seconds: float = 900.0
    maintenance_seconds: float = 21_600.0
    mass_deletion_hold_seconds: float = 86_400.0
    poll_seconds: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """When the packer runs: so many drafts, or so many bytes, or the oldest so old (Intervals.pack_seconds)."""

    drafts: int = 64
    bytes: int = 256_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long recorded outputs are kept, and how many bytes of them. Code is kept for ever."""

    outputs_days: float = 90.0
    outputs_bytes: int = 2_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """The flight recorder: ``exclude`` are gitignore patterns relative to a root, caps are in bytes."""

    enabled: bool = True
    other_kernels: bool = False
    exclude: tuple[str, ...] = ()
    output_bytes: int = 8_000_000
    day_bytes: int = 250_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One way to one human. ``url`` is Apprise's, ``desktop:``, ``wall:``, or ``env:NAME`` or ``file:PATH`` that holds
    one; a channel with a ``command`` (its words) has no url."""

    name: str
    human: str
    url: str = ""
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    """When an incident is told again, in seconds after it began (the last pause repeats for ever).

    ``ping_url`` is a dead man's switch that speaks the Healthchecks protocol (or ``env:NAME``, ``file:PATH``);
    ``without_channels`` is the choice, on record, to be told by `status` alone.
    """

    repeat_seconds: tuple[float, ...] = (0.0, 1_800.0, 7_200.0, 21_600.0, 86_400.0)
    next_channel_seconds: float = 1_800.0
    all_channels_seconds: float = 7_200.0
    acknowledged_seconds: float = 604_800.0
    send_timeout_seconds: float = 10.0
    ping_url: str = ""
    without_channels: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RollCall:
    """How often each human is to answer, in seconds; ``remind_seconds`` and ``overdue_seconds`` count from the call."""

    every_seconds: float = 7_776_000.0
    remind_seconds: tuple[float, ...] = (259_200.0, 604_800.0)
    overdue_seconds: float = 604_800.0
    code_seconds: float = 1_209_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """The independent check: how often it looks, and how long things may take, in seconds."""

    light_seconds: float = 120.0
    full_seconds: float = 900.0
    down_seconds: float = 60.0
    late_seconds: float = 1_140.0
    drill_seconds: float = 86_400.0
    every_object_seconds: float = 604_800.0
    mirror_late_seconds: float = 7_200.0
    mirror_told_seconds: float = 259_200.0
    rehash_share: float = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A copy of the archive elsewhere: a git remote (a path, ``file://``, ``ssh://``, ``https://``)."""

    name: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a user can set. ``roots`` are absolute; ``ignore`` are gitignore patterns relative to a root."""

    roots: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    archive: str | None = None
    emergency: str | None = None
    limits: Limits = field(default_factory=Limits)
    intervals: Intervals = field(default_factory=Intervals)
    packing: Packing = field(default_factory=Packing)
    retention: Retention = field(default_factory=Retention)
    recorder: Recording = field(default_factory=Recording)
    channels: tuple[Channel, ...] = ()
    alerts: Alerts = field(default_factory=Alerts)
    roll_call: RollCall = field(default_factory=RollCall)
    checks: Checks = field(default_factory=Checks)
    mirrors: tuple[Mirror, ...] = ()
