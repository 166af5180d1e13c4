"""Publishing at QoS 1: at least once, in order, a bounded number ahead of the broker's acknowledgements."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from headwater.transport.mqtt.connection import Connection
from headwater.transport.mqtt.listener import Listener
from headwater.transport.mqtt.settings import MqttSettings
from headwater.transport.retry import pauses, retrying


class Publisher(Listener):
    """`async with Publisher(...) as publisher`; a broker that is away is waited for.

    A lost connection is made anew, and what was not acknowledged is sent again: the broker may then pass a message on
    twice, under two packet ids, which nobody behind it can tell from two messages.
    """

    def __init__(self, settings: MqttSettings, client_id: str, *, window: int = 1000) -> None:
        self._settings = settings
        self._client_id = client_id
        self._window = window
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._sent: dict[int, tuple[str, bytes]] = {}  # by packet id, in order
        self._connection: Connection | None = None
        self._progress = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Publisher:
        """Begin to connect."""
        self._task = asyncio.create_task(self._keep_connected())
        self._task.add_done_callback(lambda _: self._progress.set())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect; what was not acknowledged may be lost (see `flush`)."""
        connection = self._connection
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if connection is not None:
            await connection.close()

    async def publish(self, topic: str, payload: bytes) -> None:
        """Publish in the order of the calls; waits while `window` messages are unacknowledged.

        Refused, Untrusted: the broker does not want us. BadInput: topic or size.
        """
        await self._until(lambda: len(self._waiting) + len(self._sent) < self._window)
        self._waiting.append((topic, payload))
        self._send()

    async def flush(self) -> None:
        """Wait until the broker has acknowledged everything."""
        await self._until(lambda: not self._waiting and not self._sent)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._task is not None and self._task.done():
                self._task.result()
            self._progress.clear()
            await self._progress.wait()

    async def _keep_connected(self) -> None:
        waits = pauses()
        while True:
            connection = await retrying(
                f"connecting to MQTT broker {self._settings.where}",
                lambda: Connection.open(self._settings, self._client_id, self, clean=True),
            )
            await connection.ended()
            self._connection = None
            await asyncio.sleep(next(waits))

    def opened(self, connection: Connection) -> None:
        """Send again what the last connection left open, then go on."""
        self._connection = connection
        self._waiting.extendleft(reversed(self._sent.values()))
        self._sent.clear()
        self._send()

    def published(self, packet_id: int) -> None:
        """Make room."""
        self._sent.pop(packet_id, None)
        self._send()
        self._progress.set()

    def _send(self) -> None:
        """Send as many as the broker takes ahead of its acknowledgements (MQTT 5, 3.2.2.3.3)."""
        while self._connection is not None and self._waiting and len(self._sent) < self._connection.receive_maximum:
            topic, payload = self._waiting.popleft()
            self._sent[self._connection.publish(topic, payload)] = topic, payload
