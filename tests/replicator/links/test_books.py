"""The budget is the link's: several instances spend it together, and no life forgets what another one spent."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from headwater.contract.errors import Fenced
from headwater.transport.kafka_batch.meter import Meter
from replicator.journal import Journal
from replicator.links.books import Books
from replicator.links.lines import Lines
from replicator.links.settings import LinkSettings
from replicator.sharing.shares import SHARES
from tests.replicator.bed import Bed

_LIMIT = 1_000_000
_AHEAD = _LIMIT // 50  # at most
_DAY = LinkSettings.model_validate({"budget": {"day_bytes": _LIMIT}})


class _Spender(Meter):
    """Of one process; `spent` stands for its connections."""

    spent = 0

    @property
    def carried(self) -> int:
        return self.spent


class _Instance:
    """One life of a link that spends when it is told to."""

    def __init__(self, bed: Bed, journal: Journal, meter: _Spender) -> None:
        self.journal, self.meter = journal, meter
        self.books = Books(_DAY, bed.target, journal, meter)

    async def spend(self, size: int) -> bool:
        """Spend unless the budget is used up; False if it is."""
        await self.keep()
        if 0 in self.books.budget.shut(3, _now()):
            return False
        self.meter.spent += size
        await self.keep()
        return True

    async def keep(self) -> None:
        now = _now()
        self.books.look(now)
        await self.books.keep(now)


def _now() -> dt.datetime:
    """All in one day, though a test may run at midnight."""
    return dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)


@asynccontextmanager
async def _instance(bed: Bed, held: Collection[int] | None, meter: _Spender | None = None) -> AsyncIterator[_Instance]:
    journal = await Journal.open(bed.target, bed.site, held)
    try:
        yield _Instance(bed, journal, meter or _Spender())
    finally:
        await journal.close()


async def _begun(bed: Bed) -> None:
    await bed.topic(partitions=1)
    await bed.ship()


async def test_two_instances_spend_one_budget(bed: Bed) -> None:
    """Spending side by side and unevenly, they do not pass the budget, and hardly anything of it is left over."""
    await _begun(bed)
    async with _instance(bed, range(4)) as one, _instance(bed, range(4, SHARES)) as other:
        for turn in range(1000):
            sizes = (3000, 15_000 if turn % 3 else 0)
            if not any(await asyncio.gather(one.spend(sizes[0]), other.spend(sizes[1]))):
                break
        spent = one.meter.spent + other.meter.spent
        assert _LIMIT - 2 * _AHEAD <= spent <= _LIMIT + sum(sizes)
        assert one.meter.spent > 100_000


async def test_what_a_killed_life_spent_is_not_forgotten(bed: Bed) -> None:
    """Neither what it had not written when it was killed, nor where the shares go, nor when the link is not shared."""
    await _begun(bed)
    left = []
    for held in (range(SHARES), range(4, SHARES), {1, 2}, None, range(SHARES), None):
        async with _instance(bed, held) as life:
            life.books.look(_now())
            left.append(life.books.budget.left or 0)
            for _ in range(10):
                assert await life.spend(5000)
            life.meter.spent += 4000  # and nobody looks any more
    assert left[0] <= _LIMIT
    assert all(54_000 <= former - later <= 54_000 + _AHEAD for former, later in pairwise(left))


async def test_lives_within_one_process_go_on_counting(bed: Bed) -> None:
    """What went between two of them counts, what was written ahead but not spent is given back at an orderly end."""
    await _begun(bed)
    meter = _Spender()
    for _ in range(3):
        async with _instance(bed, range(SHARES), meter) as life:
            assert await life.spend(10_000)
            life.books.look(_now())
            await life.books.close(_now())
        meter.spent += 5000
    async with _instance(bed, range(SHARES), meter) as life:
        life.books.look(_now())
        left = life.books.budget.left or 0
    assert meter.spent <= _LIMIT - left <= meter.spent + 3 * 2048


async def test_who_has_lost_its_share_writes_no_more_of_what_it_spent(bed: Bed) -> None:
    """A sleeper that wakes does not write over what its successor has counted since."""
    await _begun(bed)
    async with _instance(bed, range(4)) as sleeper, _instance(bed, range(SHARES)) as successor:
        assert await successor.spend(100_000)
        sleeper.meter.spent += 50_000
        with pytest.raises(Fenced):
            await sleeper.keep()
    async with _instance(bed, range(SHARES)) as life:
        life.books.look(_now())
        assert (life.books.budget.left or 0) <= _LIMIT - 100_000


async def test_the_rate_is_divided_by_what_an_instance_has_of_the_link(bed: Bed) -> None:
    """All together keep to the rate, whoever is there."""
    await _begun(bed)
    rates = []
    settings = LinkSettings(rate_bytes_s=80_000)
    for held in (range(5), range(5, SHARES), None):
        journal = await Journal.open(bed.target, bed.site, held)
        rates.append(Lines(settings, bed.target, journal, Meter()).governor.most_rate)
        await journal.close()
    assert rates == [50_000, 30_000, 80_000]
