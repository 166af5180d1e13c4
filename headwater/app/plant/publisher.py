"""Machines as the plant's broker sees them: one reading of every asset a tick, at QoS 1, at a chosen speed-up."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from headwater.contract.errors import Defect, HeadwaterError
from headwater.contract.reading import encode
from headwater.transport.mqtt.publisher import Publisher
from headwater.transport.mqtt.settings import MqttSettings

Row = tuple[int, Mapping[str, float | None]]  # sensor time in ms, values by channel
POLL_S = 0.02


class Machine(NamedTuple):
    """An asset and where it is."""

    site: str
    asset_class: str
    asset: str

    @property
    def topic(self) -> str:
        """MQTT topic of its readings."""
        return f"{self.site}/{self.asset_class}/{self.asset}"


class Feed:
    """Publishes the rows of each machine from a thread of its own; a tick is one row of every machine.

    `speed` ticks a second. A machine whose rows end falls silent. Once `stop` returns, every counted reading has
    been acknowledged by the broker.
    """

    def __init__(self, settings: MqttSettings, rows: Mapping[Machine, Iterator[Row]], speed: float) -> None:
        self._settings = settings
        self._rows = dict(rows)
        self._speed = speed
        self._counts = dict.fromkeys(rows, 0)
        self._hashes = {machine: hashlib.sha256() for machine in rows}
        self._walls: dict[int, float] = {}  # sensor time in ms: when it was first published, Unix seconds
        self._stop = threading.Event()
        self._hold_at: int | None = None
        self._error: HeadwaterError | None = None
        self._finished = False  # its rows, or what was asked of it before `stop`, all acknowledged
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self.tick = 0
        self.now_ms = 0  # sensor time of the last tick

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def stop(self) -> None:
        """End after the present tick and wait for every acknowledgement; raises what went wrong meanwhile."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self.check()

    def abandon(self) -> None:
        """End soon without waiting: for a demo that was interrupted."""
        self._stop.set()

    def check(self) -> None:
        """Raise what ended the thread, if anything did; Defect where it was no error of ours, or none at all."""
        if self._error is not None:
            raise self._error
        if self._thread.ident is not None and self.done and not self._finished:
            raise self._ended("without a reason")

    def play(self, speed: float) -> None:
        """Go on with `speed` ticks a second."""
        self._speed = speed

    def hold_at(self, tick: int | None) -> None:
        """Pause before this tick; None goes on."""
        self._hold_at = tick

    @property
    def done(self) -> bool:
        """Whether the rows of every machine have ended, or `stop` was called."""
        return not self._thread.is_alive()

    def published(self) -> dict[Machine, tuple[int, str]]:
        """Readings and the SHA-256 of their payloads in order, by machine; final after `stop`."""
        return {machine: (count, self._hashes[machine].hexdigest()) for machine, count in self._counts.items()}

    def published_at(self, t_ms: int) -> float | None:
        """Unix time in seconds at which readings of this sensor time were published."""
        return self._walls.get(t_ms)

    def _run(self) -> None:
        try:
            asyncio.run(self._publish())
        except HeadwaterError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001  # the outermost door of this thread
            self._error = self._ended(f"by {type(error).__name__}: {error}")

    def _ended(self, how: str) -> Defect:
        return Defect(f"the feed of readings ended {how}, after {sum(self._counts.values()):,} readings")

    async def _publish(self) -> None:
        async with Publisher(self._settings, "headwater-feed") as publisher:
            due = time.monotonic()
            while self._rows and not self._stop.is_set():
                if self._hold_at is not None and self.tick >= self._hold_at:
                    await asyncio.sleep(POLL_S)
                    due = time.monotonic()
                    continue
                await self._publish_tick(publisher)
                self.tick += 1
                due += 1 / self._speed
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            await publisher.flush()
        self._finished = True

    async def _publish_tick(self, publisher: Publisher) -> None:
        now = time.time()
        for machine in list(self._rows):
            row = next(self._rows[machine], None)
            if row is None:
                del self._rows[machine]
                continue
            payload = encode(*row)
            await publisher.publish(machine.topic, payload)
            self._counts[machine] += 1
            self._hashes[machine].update(payload)
            self._walls.setdefault(row[0], now)
            self.now_ms = row[0]
