"""Fixtures of the whole test suite; the services behind them are in services.py."""

from __future__ import annotations

import signal

import pytest

pytest_plugins = ["tests.services"]


def pytest_configure(config: pytest.Config) -> None:
    """A terminated session stops its services, as an interrupted one does."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
