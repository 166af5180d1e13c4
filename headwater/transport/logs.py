"""Structured logs on standard error: JSON where nobody watches, aligned lines on a terminal."""

from __future__ import annotations

import logging
import sys
import time
from typing import NamedTuple, TextIO, cast

import structlog


class _StandardError:
    """Standard error as it is at each line, not as it was when logging was set up: tests and services replace it."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


class _Libraries(logging.Handler):
    """What libraries log, in the form of our own lines: a reader of JSON meets nothing else."""

    def emit(self, record: logging.LogRecord) -> None:
        told = structlog.get_logger(record.name)
        told.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)


class Problem(NamedTuple):
    """A warning or an error that was logged; `at_ms` is 0 and `says` empty before the first."""

    at_ms: int = 0
    says: str = ""


_TOLD = ("doing", "why", "says")
_MOST_CHARACTERS = 500
_last = Problem()


def last_problem() -> Problem:
    """The newest warning or error of this process, since `configure`."""
    return _last


def _note(_: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    global _last  # noqa: PLW0603  # there is one log a process
    if method in ("warning", "error", "critical", "exception"):
        words = [str(event.get("event")), *(str(event[name]) for name in _TOLD if name in event)]
        _last = Problem(time.time_ns() // 1_000_000, ": ".join(words)[:_MOST_CHARACTERS])
    return event


def configure(*, json: bool | None = None, verbose: bool = False, quiet: bool = False, part: str = "") -> None:
    """Set up logging for this process; `json` None means: JSON unless standard error is a terminal.

    `quiet` is for commands whose own words say what went wrong.
    """
    as_json = not sys.stderr.isatty() if json is None else json
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    )
    level = logging.CRITICAL if quiet else logging.DEBUG if verbose else logging.INFO
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _note,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _StandardError())),
        cache_logger_on_first_use=False,  # what is set later holds for loggers that have spoken too
    )
    logging.basicConfig(handlers=[_Libraries()], level=logging.WARNING)
    if part:
        structlog.contextvars.bind_contextvars(part=part)
