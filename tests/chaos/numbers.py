"""A publisher of numbered messages over many assets, at QoS 1 or 2, at a rate that may change at any time."""

from __future__ import annotations

import asyncio
import itertools
import threading
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

ASSETS = 23
WARM = b"-1"  # says that the way is open; not counted
_TURN_S = 0.02
_MOST_OPEN = 2000
_WAIT_S = 120.0


class Numbers:
    """`async with Numbers(...) as numbers`: publishes 0, 1, 2, ... straight to the broker, no relay between.

    A publisher whose connection breaks while messages are open sends them again, and nobody can tell that from two
    messages: so it is silenced (`quiet`) before its broker is stopped, and a break at another time is an error.
    """

    def __init__(self, site: str, port: int, qos: int) -> None:
        self.rate = 100.0
        self.sent = 0
        self._site = site
        self._port = port
        self._qos = qos
        self._acknowledged = 0
        self._quiet = False
        self._fault = ""
        self._connected = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"numbers-{site}")
        self._client.max_inflight_messages_set(0)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish

    async def __aenter__(self) -> Numbers:
        self._client.connect("127.0.0.1", self._port, 60)
        self._client.loop_start()
        assert await asyncio.to_thread(self._connected.wait, _WAIT_S)
        self._task: asyncio.Task[None] | None = None
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._client.disconnect()
        self._client.loop_stop()

    def warm(self) -> None:
        """Publish one message that is not counted."""
        self._sent_one(WARM, 0)

    def begin(self) -> None:
        """Publish numbers from now on."""
        self._task = asyncio.create_task(self._run())

    async def quiet(self) -> None:
        """Publish nothing, and wait until the broker has acknowledged everything."""
        self._quiet = True
        await self._until(lambda: self._open() == 0, "unacknowledged")

    async def again(self) -> None:
        """Publish again once the broker is back."""
        self._client.loop_stop()  # paho waits a second before it tries again
        await self._until(self._reconnected, "not connected again")
        self._client.loop_start()
        self._quiet = False

    def check(self) -> None:
        """Raise what went wrong in the background."""
        if self._fault:
            raise AssertionError(self._fault)
        if self._task is not None and self._task.done():
            self._task.result()

    def _reconnected(self) -> bool:
        try:
            self._client.reconnect()
        except OSError:
            return False
        return True

    async def _until(self, condition: Any, what: str) -> None:
        end = asyncio.get_running_loop().time() + _WAIT_S
        while not condition():
            self.check()
            assert asyncio.get_running_loop().time() < end, f"the publisher: {what} after {_WAIT_S:g} s"
            await asyncio.sleep(_TURN_S)

    def _open(self) -> int:
        return self._published - self._acknowledged

    _published = 0

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        owed, then = 0.0, loop.time()
        for number in itertools.count():
            while owed < 1 or self._quiet or self._open() > _MOST_OPEN:
                await asyncio.sleep(_TURN_S)
                now = loop.time()
                owed, then = min(owed + (now - then) * self.rate, self.rate / 10), now
                if self._quiet:
                    owed = 0.0
            owed -= 1
            self._sent_one(b"%d" % number, number % ASSETS)
            self.sent = number + 1

    def _sent_one(self, content: bytes, asset: int) -> None:
        self._publish(f"{self._site}/pump/p{asset}", content)

    def _publish(self, topic: str, payload: bytes) -> None:
        self._published += 1
        self._client.publish(topic, payload, self._qos)

    def _on_publish(self, *_: Any) -> None:
        self._acknowledged += 1

    def _on_connect(self, *_: Any) -> None:
        self._connected.set()

    def _on_disconnect(self, *_: Any) -> None:
        if self._open() and not self._fault:
            self._fault = f"the publisher's connection broke with {self._open()} messages open"
