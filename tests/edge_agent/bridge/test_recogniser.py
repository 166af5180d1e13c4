"""Redeliveries are told from new messages, against a broker in memory that does what MQTT allows."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence

import pytest

from edge_agent.bridge.bridge import Bridge
from edge_agent.bridge.recogniser import Entry, Recogniser
from edge_agent.bridge.route import Route
from edge_agent.bridge.settings import BridgeSettings
from headwater.transport.kafka_batch.records import Out, Record
from headwater.transport.mqtt.connection import Message
from headwater.transport.mqtt.source import Batch
from tests.edge_agent.bridge.load import NOTHING_WRONG, fate

WINDOW = 20
IDS = 65_535
Find = Callable[[Message, bytes, int], Entry | None]
PARTITIONS = 3


class Broker:
    """Sends numbered messages at QoS 1, `WINDOW` ahead; ids count upwards, or are the lowest that is free."""

    def __init__(self, chance: random.Random, *, lowest_ids: bool, payload: bytes | None = None) -> None:
        self.sent = 0
        self.epoch = 0
        self.closing = False  # no new messages
        self._chance = chance
        self._lowest_ids = lowest_ids
        self._payload = payload
        self._next_id = IDS - 100  # so that a run sees ids begin again
        self._open: deque[Message] = deque()
        self._delivered: deque[Message] = deque()
        self._acks_under_way: list[int] = []
        self._sessions = 0

    def connect(self) -> Batch:
        """A new connection: what is open comes again, some acknowledgements of the last one never arrived."""
        arrived = self._chance.randint(0, len(self._acks_under_way))
        self._close(self._acks_under_way[:arrived])
        self._acks_under_way = []
        self.epoch += 1
        self._sessions += 1
        self._open = deque(message._replace(dup=True) for message in self._open)
        self._delivered = deque()
        return Batch(self.epoch, self._sessions > 1, [])

    def deliver(self) -> Batch:
        """Some of what is open and was not delivered on this connection, perhaps with new messages behind it."""
        while not self.closing and len(self._open) < WINDOW and self._chance.random() < 0.8:
            self._open.append(self._message())
        waiting = list(self._open)[len(self._delivered) :]
        some = waiting if self.closing else waiting[: self._chance.randint(0, len(waiting))]
        self._delivered += some
        return Batch(self.epoch, self._sessions > 1, some)

    def acknowledge(self, count: int, epoch: int) -> None:
        """Take acknowledgements of this connection; they arrive late."""
        assert epoch == self.epoch
        begin = len(self._acks_under_way)
        self._acks_under_way += [m.packet_id for m in list(self._delivered)[begin : begin + count]]
        if self._chance.random() < 0.5:
            arrived = self._chance.randint(0, len(self._acks_under_way))
            self._close(self._acks_under_way[:arrived])
            del self._acks_under_way[:arrived]

    async def read(self) -> Batch:
        raise NotImplementedError  # the test hands batches over itself

    def _close(self, packet_ids: Sequence[int]) -> None:
        for packet_id in packet_ids:
            assert self._open.popleft().packet_id == packet_id
            if self._delivered:
                self._delivered.popleft()

    def _message(self) -> Message:
        used = {message.packet_id for message in self._open}
        if self._lowest_ids:
            packet_id = next(n for n in range(1, IDS + 1) if n not in used)
        else:
            packet_id = self._next_id
            self._next_id = self._next_id % IDS + 1
        payload = b"%d" % self.sent if self._payload is None else self._payload
        message = Message(f"lyon/pump/p{self._chance.randint(0, 4)}", payload, packet_id, False, 1)
        self.sent += 1
        return message


class Log:
    """Kafka in memory: batches of a partition become visible some time after they were handed in, in order."""

    def __init__(self) -> None:
        self.partitions: dict[tuple[str, int], list[Record]] = {}
        self.under_way: list[tuple[tuple[str, int], list[Out], asyncio.Future[int]]] = []

    async def write(self, topic: str, partition: int, outs: Sequence[Out]) -> int:
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.under_way.append(((topic, partition), list(outs), done))
        return await done

    def land(self, index: int, *, told: bool) -> None:
        """Append one batch; the writer may or may not live to hear of it."""
        place, outs, done = self.under_way.pop(index)
        log = self.partitions.setdefault(place, [])
        log += [Record(len(log) + n, out.timestamp_ms, out.key, out.value, out.headers) for n, out in enumerate(outs)]
        if told and not done.done():
            done.set_result(0)

    def tails(self, count: int) -> list[Record]:
        return [record for log in self.partitions.values() for record in log[-count:]]

    def readings(self) -> list[Record]:
        return [record for place, log in sorted(self.partitions.items()) if place[0] == "readings" for record in log]


class Life:
    """One life of the bridge, without processes."""

    def __init__(self, broker: Broker, log: Log, find: Find | None) -> None:
        recogniser = Recogniser("client", 1000, 2 * WINDOW)
        if find is not None:
            recogniser.find = find  # type: ignore[method-assign]  # how a test takes a guard away
        recogniser.read(log.tails(4 * WINDOW))
        self.bridge = Bridge(
            broker,
            log,
            Route("{site}/{class}/{asset}", "lyon", PARTITIONS),
            recogniser,
            BridgeSettings(linger_ms=0),
            partitions=PARTITIONS,
            receive_maximum=WINDOW,
        )
        self.lanes = [asyncio.create_task(lane.run()) for lane in self.bridge._lanes.values()]
        self.bridge.take(broker.connect())

    async def kill(self) -> None:
        for lane in self.lanes:
            lane.cancel()
        await asyncio.wait(self.lanes)


async def breathe() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


async def live(chance: random.Random, broker: Broker, log: Log, turns: int, find: Find | None = None) -> Life:
    """Random deliveries, landings, cuts and kills; then everything that is open is carried to its end."""
    life = Life(broker, log, find)
    for _ in range(turns):
        dice = chance.random()
        if dice < 0.45:
            life.bridge.take(broker.deliver())
        elif dice < 0.93:
            if log.under_way:
                log.land(chance.randrange(len(log.under_way)), told=True)
        elif dice < 0.97:
            life.bridge.take(broker.connect())
        else:
            await life.kill()
            # What was under way landed or not, unheard of; the fence of the next life decides which.
            for index in reversed(range(len(log.under_way))):
                if chance.random() < 0.5:
                    log.land(index, told=False)
            log.under_way.clear()
            life = Life(broker, log, find)
        await breathe()
    broker.closing = True
    life.bridge.take(broker.deliver())
    await breathe()
    while log.under_way:
        log.land(0, told=True)
        await breathe()
    return life


@pytest.mark.parametrize("lowest_ids", [False, True], ids=["ids count upwards", "lowest free id"])
@pytest.mark.parametrize("seed", range(12))
async def test_every_message_is_written_once(seed: int, lowest_ids: bool) -> None:
    """Over a thousand kills, cuts and lost acknowledgements, whatever the broker's way of choosing packet ids."""
    chance = random.Random(seed)
    broker, log = Broker(chance, lowest_ids=lowest_ids), Log()

    life = await live(chance, broker, log, 1500)
    await life.kill()

    assert fate(log.readings(), broker.sent) == NOTHING_WRONG
    assert life.bridge.counts.balanced
    assert life.bridge.counts.waiting == 0


@pytest.mark.parametrize("seed", range(4))
async def test_payloads_that_repeat_are_not_mistaken(seed: int) -> None:
    """Messages that are equal byte for byte are all written, once each, where ids count upwards."""
    chance = random.Random(seed)
    broker, log = Broker(chance, lowest_ids=False, payload=b"0"), Log()

    life = await live(chance, broker, log, 1500)
    await life.kill()

    assert len(log.readings()) == broker.sent


async def test_the_simulation_can_fail() -> None:
    """The guard: without recognition the same turns write messages twice; trusting DUP alone loses some."""
    for find, wrong in ((lambda *_: None, "duplicated"), (_trusting, "lost")):
        chance = random.Random(1)
        broker, log = Broker(chance, lowest_ids=False), Log()
        life = await live(chance, broker, log, 1500, find=find)
        await life.kill()
        assert getattr(fate(log.readings(), broker.sent), wrong) > 0


def _trusting(message: Message, content: bytes, epoch: int) -> Entry | None:
    del content, epoch
    return Entry(b"", 0, 0, written=True) if message.dup else None
