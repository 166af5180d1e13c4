"""What cannot be written of a budget, or not now: the link waits, and goes on looking at what it costs."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import cast

import msgspec
import pytest

from headwater.contract.errors import DataMissing
from headwater.transport.kafka_batch import Cluster, SetBack, Writer
from headwater.transport.kafka_batch.meter import Meter
from headwater.transport.kafka_batch.settings import KafkaSettings
from replicator.journal import Journal
from replicator.links.books import Books
from replicator.links.governor import Gate
from replicator.links.lines import Lines
from replicator.links.settings import LinkSettings

_NOON = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
_LIMIT = 1_000_000
_DAY = LinkSettings.model_validate({"budget": {"day_bytes": _LIMIT}})


class _Spender(Meter):
    spent = 0

    @property
    def carried(self) -> int:
        return self.spent


class _Paper(Journal):
    """A positions topic whose leader is away until `back` is set, of one share of a link."""

    def __init__(self) -> None:
        super().__init__("positions", "gaps", "manifest", {0: cast("Writer", None)}, {})
        self.back = asyncio.Event()
        self.failure: DataMissing | None = None
        self.kept: list[Mapping[bytes, msgspec.Struct]] = []

    async def keep(self, values: Mapping[bytes, msgspec.Struct]) -> None:
        await self.back.wait()
        self.kept.append(values)

    async def news(self, cluster: Cluster) -> dict[bytes, bytes | None]:
        if self.failure is not None:
            raise self.failure
        return {}


class _Mute(Cluster):
    """A target that answers nobody."""

    async def nodes(self) -> list[int]:
        await asyncio.Event().wait()
        raise AssertionError


def _mute() -> Cluster:
    return _Mute(KafkaSettings(brokers="127.0.0.1:1"), client_id="test")


class _Down:
    held = ""

    def hold(self, why: str) -> None:
        self.held = why


class _Link:
    def __init__(self) -> None:
        self.journal, self.meter, self.down = _Paper(), _Spender(), _Down()
        target = _mute()
        self.lines = Lines(_DAY, target, self.journal, self.meter, self.down)


@asynccontextmanager
async def _running() -> AsyncIterator[_Link]:
    link = _Link()
    link.lines.look()
    running = asyncio.create_task(link.lines.run())
    try:
        yield link
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _wait_while(link: _Link, shut: set[int], held: bool) -> None:
    deadline = time.monotonic() + 3.0
    while set(link.lines.shut) != shut or bool(link.down.held) != held:
        assert time.monotonic() < deadline, (link.lines.shut, link.down.held)
        await asyncio.sleep(0.02)


async def test_a_budget_is_kept_while_nobody_writes_it() -> None:
    """No lane sends what is not written, the way down waits, and what the link itself spends is looked at."""
    async with _running() as link:
        alarms = Gate(link.lines.governor, 0)
        assert not alarms.takes(1)
        await _wait_while(link, set(), held=True)
        link.meter.spent = _LIMIT
        await _wait_while(link, {0, 1, 2}, held=True)
        assert link.journal.kept == []


async def test_what_waited_for_the_books_goes_when_they_are_written() -> None:
    """As much as is written, and a batch that is larger than that has it written."""
    async with _running() as link:
        await _wait_while(link, set(), held=True)
        link.journal.back.set()
        alarms = Gate(link.lines.governor, 0)
        async with asyncio.timeout(3.0):
            await alarms.turn(10_000)
            alarms.posted(10_000)
            await alarms.turn(300_000)
        await _wait_while(link, set(), held=False)
        assert not Gate(link.lines.governor, 0).takes(300_000)


async def test_a_leader_that_does_not_know_the_end_yet_is_asked_again() -> None:
    """A new one lags for a moment: nothing is granted until the others' books are read, and the link goes on."""
    link = _Link()
    journal = link.journal
    books = Books(_DAY, _mute(), journal, link.meter)
    journal.back.set()
    journal.failure = DataMissing("positions[0]: offsets 20 to 21 were asked for, the log ends at 20")
    assert not await books.keep(_NOON)
    assert books.credit(_NOON) == 0
    journal.failure = None
    assert await books.keep(_NOON)
    assert books.credit(_NOON) == _LIMIT // 50
    assert len(journal.kept) == 1
    link.meter.spent = _LIMIT
    books.look(_NOON)
    journal.failure = SetBack("positions[0]: the log ends at 5")
    with pytest.raises(SetBack):
        await books.keep(_NOON)
