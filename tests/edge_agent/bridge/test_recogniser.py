"""Redeliveries are told from new messages, against a broker in memory that does what MQTT allows."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence

import pytest

from edge_agent.bridge.bridge import Bridge
from edge_agent.bridge.depth import Deep
from edge_agent.bridge.far import FAR
from edge_agent.bridge.recogniser import FROM_LOG, Entry, Recogniser, mark_of
from edge_agent.bridge.settings import BridgeSettings
from headwater.contract import topics
from headwater.transport.kafka_batch import Record, batches, records
from headwater.transport.kafka_batch.lane import Done
from headwater.transport.kafka_batch.records import encode_records
from headwater.transport.kafka_batch.section import Section
from headwater.transport.mqtt.packets import DUP, QOS_1, Publish
from headwater.transport.mqtt.source import Batch
from tests.edge_agent.bridge.load import NOTHING_WRONG, fate

WINDOW = 20
IDS = 65_535
Find = Callable[[Publish], Entry | None]
PARTITIONS = 3


class Broker:
    """Sends numbered messages at QoS 1, `window` ahead; ids count upwards, or are the lowest that is free."""

    def __init__(
        self, chance: random.Random, *, lowest_ids: bool, payload: bytes | None = None, window: int = WINDOW
    ) -> None:
        self.sent = 0
        self.epoch = 0
        self.closing = False  # no new messages
        self._chance = chance
        self._lowest_ids = lowest_ids
        self._payload = payload
        self._window = window
        self._next_id = IDS - 100  # so that a run sees ids begin again
        self._open: deque[Publish] = deque()
        self._delivered: deque[Publish] = deque()
        self._acks_under_way: list[bytes] = []
        self._sessions = 0

    def connect(self) -> Batch:
        """A new connection: what is open comes again, some acknowledgements of the last one never arrived."""
        arrived = self._chance.randint(0, len(self._acks_under_way))
        self._close(self._acks_under_way[:arrived])
        self._acks_under_way = []
        self.epoch += 1
        self._sessions += 1
        self._open = deque((QOS_1 | DUP, *message[1:]) for message in self._open)
        self._delivered = deque()
        return Batch(self.epoch, self._sessions > 1, [])

    def deliver(self) -> Batch:
        """Some of what is open and was not delivered on this connection, perhaps with new messages behind it."""
        while not self.closing and len(self._open) < self._window and self._chance.random() < 1 - 4 / self._window:
            self._open.append(self._message())
        waiting = list(self._open)[len(self._delivered) :]
        some = waiting if self.closing else waiting[: self._chance.randint(0, len(waiting))]
        self._delivered += some
        return Batch(self.epoch, self._sessions > 1, some)

    def acknowledge(self, count: int, epoch: int) -> None:
        """Take acknowledgements of this connection; they arrive late."""
        assert epoch == self.epoch
        begin = len(self._acks_under_way)
        self._acks_under_way += [m[2] for m in list(self._delivered)[begin : begin + count]]
        if self._chance.random() < 0.5:
            arrived = self._chance.randint(0, len(self._acks_under_way))
            self._close(self._acks_under_way[:arrived])
            del self._acks_under_way[:arrived]

    async def read(self) -> Batch:
        raise NotImplementedError  # the test hands batches over itself

    def pause(self) -> None:
        raise NotImplementedError  # nothing here is as large

    def relay(self, take: Callable[[Batch], None]) -> None:
        raise NotImplementedError  # as `read`

    def resume(self) -> None:
        raise NotImplementedError

    def _close(self, packet_ids: Sequence[bytes]) -> None:
        for packet_id in packet_ids:
            assert self._open.popleft()[2] == packet_id
            if self._delivered:
                self._delivered.popleft()

    def _message(self) -> Publish:
        used = {int.from_bytes(message[2], "big") for message in self._open}
        if self._lowest_ids:
            packet_id = next(n for n in range(1, IDS + 1) if n not in used)
        else:
            packet_id = self._next_id
            self._next_id = self._next_id % IDS + 1
        payload = b"%d" % self.sent if self._payload is None else self._payload
        self.sent += 1
        return QOS_1, b"lyon/pump/p%d" % self._chance.randint(0, 4), packet_id.to_bytes(2, "big"), payload, ()


class Log:
    """Kafka in memory: batches of a partition become visible some time after they were handed in, in order."""

    def __init__(self) -> None:
        self.partitions: dict[tuple[str, int], list[Record]] = {}
        self.under_way: list[tuple[tuple[str, int], list[Record], Done]] = []
        self.starts = self.looks = 0  # of lives that wrote here, and how often one read far back

    def push(self, topic: str, partition: int, section: Section, done: Done) -> None:
        data = encode_records(section.data, section.count, section.first_ms, section.newest_ms, "none", -1, -1, -1)
        self.under_way.append(((topic, partition), records(next(iter(batches(data)))), done))

    def land(self, index: int, *, told: bool) -> None:
        """Append one batch; the writer may or may not live to hear of it."""
        place, outs, done = self.under_way.pop(index)
        log = self.partitions.setdefault(place, [])
        log += [out._replace(offset=len(log) + n) for n, out in enumerate(outs)]
        if told:
            done(0)

    def tails(self, count: int) -> list[Record]:
        return [record for log in self.partitions.values() for record in log[-count:]]

    def readings(self) -> list[Record]:
        return [record for place, log in sorted(self.partitions.items()) if place[0] == "readings" for record in log]


class Life:
    """One life of the bridge, without processes."""

    def __init__(self, broker: Broker, log: Log, find: Find | None) -> None:
        recogniser = Recogniser("client", 1000, WINDOW)
        if find is not None:
            recogniser.find = find  # type: ignore[method-assign]  # how a test takes a guard away
        recogniser.learn(mark for record in log.tails(4 * WINDOW) if (mark := mark_of(record, "client")) is not None)
        self.bridge = Bridge(
            broker,
            log,
            recogniser,
            BridgeSettings(),
            site="lyon",
            partitions={topics.READINGS: PARTITIONS, topics.DEAD_LETTERS: PARTITIONS},
            receive_maximum=WINDOW,
        )
        self._recogniser, self._log = recogniser, log
        log.starts += 1
        self._deep = Deep(self, recogniser, self._look_back)
        self._next = broker.connect()
        self.bridge.take(self._next)

    async def take(self, batch: Batch) -> None:
        """A batch on its way through what reads the log further back."""
        self._next = batch
        self.bridge.take(await self._deep.read())

    async def read(self) -> Batch:
        return self._next

    async def _look_back(self) -> None:
        self._log.looks += 1
        for record in self._log.tails(FAR):
            if (mark := mark_of(record, "client")) is not None and mark.session == self._recogniser.session:
                self._recogniser.far.log(mark.packet_id, mark.sequence, mark.digest)

    def acknowledge(self, count: int, epoch: int) -> None:
        raise NotImplementedError  # the bridge has the broker for that

    def pause(self) -> None:
        raise NotImplementedError

    def relay(self, take: Callable[[Batch], None]) -> None:
        raise NotImplementedError

    def resume(self) -> None:
        raise NotImplementedError


async def breathe() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


async def live(chance: random.Random, broker: Broker, log: Log, turns: int, find: Find | None = None) -> Life:
    """Random deliveries, landings, cuts and kills; then everything that is open is carried to its end."""
    life = Life(broker, log, find)
    for _ in range(turns):
        dice = chance.random()
        if dice < 0.45:
            await life.take(broker.deliver())
        elif dice < 0.93:
            if log.under_way:
                log.land(chance.randrange(len(log.under_way)), told=True)
        elif dice < 0.97:
            await life.take(broker.connect())
        else:
            # What was under way landed or not, unheard of; the fence of the next life decides which.
            for index in reversed(range(len(log.under_way))):
                if chance.random() < 0.5:
                    log.land(index, told=False)
            log.under_way.clear()
            life.bridge.outlet.hold(0)  # a dead process has no timers
            life = Life(broker, log, find)
        await breathe()
    broker.closing = True
    await life.take(broker.deliver())
    await breathe()
    while log.under_way or life.bridge.counts.waiting:
        if log.under_way:
            log.land(0, told=True)
            await breathe()
        else:
            await asyncio.sleep(0.001)  # what is held back for company
    return life


@pytest.mark.parametrize("lowest_ids", [False, True], ids=["ids count upwards", "lowest free id"])
@pytest.mark.parametrize("seed", range(12))
async def test_every_message_is_written_once(seed: int, lowest_ids: bool) -> None:
    """Over a thousand kills, cuts and lost acknowledgements, whatever the broker's way of choosing packet ids."""
    chance = random.Random(seed)
    broker, log = Broker(chance, lowest_ids=lowest_ids), Log()

    life = await live(chance, broker, log, 1500)

    assert fate(log.readings(), broker.sent) == NOTHING_WRONG
    assert life.bridge.counts.balanced
    assert life.bridge.counts.waiting == 0


@pytest.mark.parametrize("seed", range(3))
async def test_a_broker_that_sends_too_far_ahead_repeats_nothing(seed: int) -> None:
    """It sends fifteen times the receive maximum ahead, and at a kill has not looked at as many acknowledgements."""
    chance = random.Random(seed)
    broker, log = Broker(chance, lowest_ids=False, window=15 * WINDOW), Log()

    await live(chance, broker, log, 250)

    assert broker.sent > 30 * WINDOW
    assert fate(log.readings(), broker.sent) == NOTHING_WRONG


async def test_a_usual_start_does_not_read_far_back() -> None:
    """What was never written is told by its id from what was written long ago, where a broker counts ids upwards."""
    chance = random.Random(7)
    broker, log = Broker(chance, lowest_ids=False), Log()

    await live(chance, broker, log, 1500)

    assert log.starts > 20
    assert log.looks == 0


@pytest.mark.parametrize("seed", range(4))
async def test_payloads_that_repeat_are_not_mistaken(seed: int) -> None:
    """Messages that are equal byte for byte are all written, once each, where ids count upwards."""
    chance = random.Random(seed)
    broker, log = Broker(chance, lowest_ids=False, payload=b"0"), Log()

    await live(chance, broker, log, 1500)

    assert len(log.readings()) == broker.sent


async def test_the_simulation_can_fail() -> None:
    """The guard: without recognition the same turns write messages twice; trusting DUP alone loses some."""
    for find, wrong in ((lambda *_: None, "duplicated"), (_trusting, "lost")):
        chance = random.Random(1)
        broker, log = Broker(chance, lowest_ids=False), Log()
        await live(chance, broker, log, 1500, find=find)
        assert getattr(fate(log.readings(), broker.sent), wrong) > 0


def _trusting(message: Publish) -> Entry | None:
    return (b"", FROM_LOG, 0) if message[0] & DUP else None
