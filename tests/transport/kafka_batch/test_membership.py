"""Who has which share of the work, decided by a consumer group of a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from headwater.contract.errors import Transient
from headwater.transport.kafka_batch import Cluster, KafkaSettings
from headwater.transport.kafka_batch.membership import Membership, Rebalanced, shared_out
from tests.chaos.process import wait


def test_shares_are_dealt_evenly_and_stay_where_they_are() -> None:
    """Nobody has two more than another; one who comes takes only what is due, one who goes moves only what it had."""
    assert shared_out({"a": []}, 8) == {"a": frozenset(range(8))}
    two = shared_out({"a": range(8), "b": []}, 8)
    assert two["a"] == frozenset(range(4))
    assert two["b"] == frozenset(range(4, 8))
    three = shared_out({**two, "c": []}, 8)
    assert sorted(map(len, three.values())) == [2, 3, 3]
    assert three["a"] <= two["a"]
    assert three["b"] <= two["b"]
    again = shared_out({"b": three["b"], "c": three["c"]}, 8)
    assert again["b"] >= three["b"]
    assert again["c"] >= three["c"]
    assert again["b"] | again["c"] == frozenset(range(8))
    assert shared_out({"a": [1], "b": [1], "c": [1]}, 2)["a"] == frozenset({1})


@asynccontextmanager
async def member(kafka: str, group: str) -> AsyncIterator[Membership]:
    """A member with connections of its own."""
    async with Cluster(KafkaSettings(brokers=kafka), client_id="tests") as cluster:
        yield Membership(cluster, group, 8)


async def keep(one: Membership) -> None:
    """Stay in, and join again when that is due."""
    while True:
        try:
            await one.beat()
            await asyncio.sleep(0.1)
        except Rebalanced:
            await one.join()


async def test_a_member_that_comes_gets_its_part_and_one_that_goes_leaves_it(kafka: str, unique: str) -> None:
    """Two members have all shares between them, each one once; when one leaves, the other has all at once."""
    async with member(kafka, unique) as first, member(kafka, unique) as second:
        assert await first.join() == frozenset(range(8))
        keeping = asyncio.create_task(keep(first))
        try:
            await second.join()
            assert len(second.held) == 4
            assert await wait(lambda: not first.held & second.held, 10)
            assert first.held | second.held == frozenset(range(8))
            await second.leave()
            assert await wait(lambda: len(first.held) == 8, 10)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
        with pytest.raises(Transient):
            await second.beat()
