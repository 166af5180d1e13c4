"""The load: numbered 200-byte JSON readings over 100 topics at QoS 1, flooded or one every 1/rate seconds.

`python -m bench.bridge.load PORT SITE FIRST COUNT RATE` publishes them (rate 0: as fast as the broker takes them) and
prints, once the broker has acknowledged all, `{"count": ..., "digest": ..., "first_s": ..., "last_s": ...}`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sys
import threading
import time
from random import Random

from bench.bridge import wire

PAYLOAD_BYTES = 200
TOPICS = 100
_FIRST_NUMBER = 1_000_000_000  # so that every number has ten digits
_HEAD = b'{"v":1,"t":%d,"values":{"number":%d,"sent_us":%d,'
_TAIL = '"flow":%.2f,"current":%.4f,"pressure":%.4f,"vibration":%.5f,"temperature":%.1f,"voltage":%.1f,"power":%.2f}}'
_RANGES = ((20, 40), (1, 2), (0.2, 0.8), (0.01, 0.2), (60, 80), (225, 235), (11, 15))
_TAILS = 997  # distinct ones, so that compression has something to do
_NUMBER = slice(44, 54)
_SENT = slice(65, 81)
_AHEAD = 20_000  # unacknowledged by the broker
_FLOOD_STEP = 64
_WARM_UP_S = 0.2


@functools.cache
def _tails() -> list[bytes]:
    random = Random(1)
    return [(_TAIL % tuple(random.uniform(*limits) for limits in _RANGES)).encode() for _ in range(_TAILS)]


def payload(number: int, sent_us: int) -> bytes:
    """One reading of exactly 200 bytes; `sent_us` is Unix time in microseconds."""
    return _HEAD % (sent_us // 1000, _FIRST_NUMBER + number, sent_us) + _tails()[number % _TAILS]


def number_of(content: bytes) -> int:
    """The number of a reading made by `payload`; ValueError for anything else."""
    if len(content) != PAYLOAD_BYTES:
        raise ValueError(content)
    return int(content[_NUMBER]) - _FIRST_NUMBER


def sent_us_of(content: bytes) -> int:
    """When it was sent, Unix time in microseconds."""
    return int(content[_SENT])


def digest_of(content: bytes) -> int:
    """64 bits of a reading; the sum over a set is the set's digest, whatever the order."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")


def topic(site: str, number: int) -> str:
    """The MQTT topic of a reading."""
    return f"{site}/pump/p{number % TOPICS:02d}"


class _Load:
    def __init__(self, port: int, site: str) -> None:
        self._connection = wire.connect(port, f"load-{time.time_ns()}", "3.1.1", clean=True)
        self._connection.settimeout(None)
        self._topics = [wire.text(topic(site, n)) for n in range(TOPICS)]
        self._acknowledged = 0
        self.digest = 0
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        received = 0
        while chunk := self._connection.recv(1 << 16):
            received += len(chunk)
            self._acknowledged = received // 4  # PUBACK (3.4)

    def send(self, first: int, count: int, done: int) -> None:
        sent_us = time.time_ns() // 1000
        out = []
        for number in range(first, first + count):
            content = payload(number, sent_us)
            self.digest += digest_of(content)
            body = self._topics[number % TOPICS] + (number % 65_535 + 1).to_bytes(2, "big") + content
            out.append(wire.packet(0x32, body))
        self._connection.sendall(b"".join(out))
        while done + count - self._acknowledged > _AHEAD:
            time.sleep(0.001)

    def wait(self, count: int) -> None:
        while self._acknowledged < count:
            time.sleep(0.005)


def _publish(port: int, site: str, first: int, count: int, rate: float) -> dict[str, object]:
    load = _Load(port, site)
    step = 1 if rate else _FLOOD_STEP
    began = time.time() + (_WARM_UP_S if rate else 0)
    for done in range(0, count, step):
        if rate:
            time.sleep(max(0.0, began + done / rate - time.time()))
        load.send(first + done, min(step, count - done), done)
    ended = time.time()
    load.wait(count)
    return {"count": count, "digest": load.digest % (1 << 64), "first_s": began, "last_s": ended}


if __name__ == "__main__":
    where, name, start, total, pace = sys.argv[1:]
    print(json.dumps(_publish(int(where), name, int(start), int(total), float(pace))))
