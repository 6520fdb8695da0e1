"""Where the daemon writes what it does: stderr (the journal, under a service) and a rotating file in state.

No notebook content and no secrets; names of notebooks are cleaned of control characters.
"""

from __future__ import annotations

import logging
import os
from logging.handlers import RotatingFileHandler

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _Clean(logging.Formatter):
    """One line per record, whatever a file name contains (except tracebacks, which are ours)."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        record.msg = message.encode("unicode_escape", "surrogatepass").decode("ascii") if _is_odd(message) else message
        record.args = None
        return super().format(record)


def _is_odd(message: str) -> bool:
    return not message.isprintable()


def start_logging(path: str) -> None:
    """Log to stderr and to ``path`` (0600, 5 files of a megabyte). A folder that cannot be written is not fatal."""
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for noisy in ("apscheduler", "watchdog", "git"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    try:
        handlers.append(_file_handler(path))
    except OSError as error:
        logging.getLogger(__name__).warning("no log file: %s", error)
    for handler in handlers:
        handler.setFormatter(_Clean(_FORMAT))
        root.addHandler(handler)


def move_log(path: str) -> None:
    """Log to ``path`` instead of the file so far, which is gone. Without effect where no file is logged to."""
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if isinstance(handler, RotatingFileHandler)]:
        root.removeHandler(old)
        old.close()
        try:
            new = _file_handler(path)
        except OSError as error:
            logging.getLogger(__name__).warning("no log file: %s", error)
            continue
        new.setFormatter(_Clean(_FORMAT))
        root.addHandler(new)


def _file_handler(path: str) -> RotatingFileHandler:
    """Raises OSError."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return RotatingFileHandler(path, maxBytes=1_000_000, backupCount=4, encoding="utf-8", errors="backslashreplace")
