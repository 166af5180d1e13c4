"""Fixtures of the whole test suite; the services behind them are in services.py."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import structlog

pytest_plugins = ["tests.services"]


def pytest_configure(config: pytest.Config) -> None:
    """A terminated session stops its services, as an interrupted one does."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    """A command that ran within a test leaves no format of log lines to the next one."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
