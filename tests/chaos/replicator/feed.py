"""Producers of numbered records: an idempotent one, one with transactions of which some are aborted, one with few keys.

What was sent is not noted here: what a replicator has to ship is what the source's log holds and has committed.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaException, Producer

from tests.chaos.replicator.plan import Shape

PLAIN, TRANSACTIONAL, KEYED = "plain", "tx", "keyed"
PARTITIONS: Mapping[str, int] = {PLAIN: 3, TRANSACTIONAL: 2, KEYED: 1}
ABORTED = b"aborted"
_TURN_S = 0.02
_QUIET_S = 90.0
_KEYS = 50
_ABORTED_SHARE = 0.25
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "single": {"batch.num.messages": 1, "linger.ms": 0},
    "small": {"linger.ms": 5},
    "large": {"linger.ms": 200},
}


class Feed:
    """`with Feed(...) as feed`: writes straight to the source, in threads, from `begin` on."""

    def __init__(self, brokers: str, shape: Shape, seed: str) -> None:
        self.rate = 100.0
        self.sent = 0
        self._shape = shape
        self._common = {
            "bootstrap.servers": brokers,
            "enable.idempotence": True,
            "compression.type": shape.codec,
            "log_level": 0,
            "reconnect.backoff.max.ms": 500,
            **_OPTIONS[shape.batches],
        }
        self._seed = seed
        self._numbers = dict.fromkeys(PARTITIONS, 0)
        self._quiet = threading.Event()
        self._idle = [threading.Event(), threading.Event()]
        self._over = threading.Event()
        self._failure: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._kept, args=(work,), daemon=True) for work in (self._plain, self._transactions)
        ]

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(_QUIET_S)

    def begin(self) -> None:
        """Write from now on."""
        for thread in self._threads:
            thread.start()

    def quiet(self) -> None:
        """Write nothing more until `again`, and wait until everything is in the source's log and decided."""
        for idle in self._idle:
            idle.clear()
        self._quiet.set()
        end = time.monotonic() + _QUIET_S
        for idle in self._idle:
            while not idle.wait(0.1):
                self.check()
                assert time.monotonic() < end, "the source does not take what is under way"

    def again(self) -> None:
        """Write again."""
        self._quiet.clear()

    def check(self) -> None:
        """Raise what went wrong in the background."""
        if self._failure is not None:
            raise AssertionError(f"the producer: {self._failure!r}")

    def _kept(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - told by `check`
            self._failure = error

    def _next(self, topic: str, chance: random.Random, head: bytes = b"") -> tuple[int, bytes, bytes]:
        """Partition, key and value."""
        number = self._numbers[topic]
        self._numbers[topic] = number + 1
        self.sent += 1
        value = (head or b"%d" % number) + b" " + b"x" * chance.randrange(200)
        return chance.randrange(PARTITIONS[topic]), b"k%d" % chance.randrange(_KEYS), value

    def _put(self, producer: Producer, topic: str, chance: random.Random, head: bytes = b"") -> None:
        partition, key, value = self._next(topic, chance, head)
        while True:
            try:
                producer.produce(topic, value, key, partition)
            except BufferError:
                producer.poll(0.05)
            else:
                return

    def _plain(self) -> None:
        chance, producer = random.Random(f"{self._seed}/plain"), Producer(self._common)
        owed, then = 0.0, time.monotonic()
        while not self._over.wait(_TURN_S):
            now = time.monotonic()
            owed, then = min(owed + (now - then) * self.rate, self.rate / 5), now
            if self._quiet.is_set():
                producer.flush(1)
                if not len(producer):
                    self._idle[0].set()
                owed = 0.0
                continue
            while owed >= 1:
                owed -= 1
                self._put(producer, KEYED if chance.random() < 0.1 else PLAIN, chance)
            producer.poll(0)

    def _transactions(self) -> None:
        chance, producer = random.Random(f"{self._seed}/tx"), None
        while not self._over.wait(_TURN_S):
            if self._quiet.is_set():
                self._idle[1].set()
                continue
            try:
                producer = producer or self._transactional()
                self._transaction(producer, chance)
            except KafkaException as error:
                producer = self._undone(producer, error)

    def _transactional(self) -> Producer:
        options = {"transactional.id": "feed", "transaction.timeout.ms": 10_000, "delivery.timeout.ms": 10_000}
        producer = Producer({**self._common, **options})
        producer.init_transactions(30)
        return producer

    def _transaction(self, producer: Producer, chance: random.Random) -> None:
        producer.begin_transaction()
        aborts = chance.random() < _ABORTED_SHARE
        for _ in range(chance.choice((1, 3, 20))):
            self._put(producer, TRANSACTIONAL, chance, ABORTED if aborts else b"")
            producer.poll(0)
            self._over.wait(2 / self.rate)
        producer.flush(30)  # to abort what never left ends such a producer for good
        if aborts:
            producer.abort_transaction(30)
            return
        while True:
            try:
                producer.commit_transaction(30)
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise
            else:
                return

    def _undone(self, producer: Producer | None, error: KafkaException) -> Producer | None:
        """Abort where that is the way; a producer that is broken for good is replaced."""
        if producer is not None and error.args[0].txn_requires_abort():
            with suppress(KafkaException):
                producer.abort_transaction(30)
                return producer
        self._over.wait(0.2)
        return None
