"""Messages from a session that the broker keeps, acknowledged when the caller says so.

The caller acknowledges the n oldest messages of a connection, so acknowledgements leave in the order of receipt, as
MQTT 5 demands ([MQTT-4.6.0-2]), and none can reach a connection that the message did not come from: each batch names
the connection by its epoch. What is not acknowledged is sent again on the next connection, in its order, with DUP = 1
([MQTT-4.4.0-1], [MQTT-4.6.0-1]).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import structlog

from headwater.transport.mqtt.client import acknowledgements
from headwater.transport.mqtt.connection import Connection
from headwater.transport.mqtt.listener import Listener
from headwater.transport.mqtt.packets import QOS, Publish
from headwater.transport.mqtt.patience import Patience
from headwater.transport.mqtt.presence import Message, Presence
from headwater.transport.mqtt.pulse import Pulse
from headwater.transport.mqtt.settings import MqttSettings
from headwater.transport.mqtt.waiting import Waiting
from headwater.transport.retry import retrying

_QOS_1 = 0x02
_PUBREC = b"\x50\x02"
_FEW = 16  # messages; the smallest window that a broker has by default is 20 (Mosquitto, MQTT 3.1.1)

_log = structlog.get_logger(__name__)


class Batch(NamedTuple):
    """What one read brought. A new connection begins with a batch without messages."""

    epoch: int
    session_present: bool  # of the connection: the broker still had our session
    messages: list[Publish]


class MqttSource(Protocol):
    """Batches of messages to be acknowledged in the order of receipt."""

    async def read(self) -> Batch:
        """Wait for messages or for a new connection. Raises Permanent when none will ever come."""
        ...

    def relay(self, take: Callable[[Batch], None]) -> None:
        """After `read`: batches of this connection may go to `take` as they arrive; `read` raises what it raises."""
        ...

    def acknowledge(self, count: int, epoch: int) -> None:
        """Acknowledge the `count` oldest messages of connection `epoch`; nothing when that connection is gone."""
        ...

    def pause(self) -> None:
        """Read nothing more for now; the connection lives."""
        ...

    def resume(self) -> None:
        """Read again."""
        ...


class Subscriber(Listener):
    """An MqttSource on paho: `async with Subscriber(...) as source`. Reconnects for as long as it lives.

    At `receive_maximum` unacknowledged messages it stops to read: a broker may send further ahead than that (Mosquitto
    does while it works off a queue), and messages at QoS 0 have no bound. It also stops while the bytes of what nobody
    has dealt with are above a bound (waiting.py): a message may have 32 MB. Messages at QoS 0 below `headwater-pulse/`
    are its own (pulse.py). `pulse.stalls` and `patience.taken_over` count what ended connections.
    """

    def __init__(
        self,
        settings: MqttSettings,
        client_id: str,
        filters: Sequence[str],
        *,
        no_longer: Sequence[str] = (),
        gather_s: float = 0.0,
        dialling: Callable[[], None] = lambda: None,
        presence: Presence | None = None,
    ) -> None:
        self.subscribed = asyncio.Event()
        self.epoch = 0
        self.patience = Patience(client_id, settings.protocol)
        self.pulse = Pulse(client_id, settings.pulse_s, settings.where)
        self._settings = settings
        self._client_id = client_id
        self._filters = filters
        self._no_longer = no_longer
        self._gather_s = gather_s
        self._dialling = dialling
        self._presence = presence
        self._most = settings.receive_maximum
        self._held = False  # the caller asked for a pause
        self._take: Callable[[Batch], None] | None = None
        self._failure: Exception | None = None  # of the one who takes
        self._peak = 0  # of unacknowledged messages: the broker's window, as far as it was seen
        self._connection: Connection | None = None
        self._session_present = False
        self._waiting: Waiting[Batch] = Waiting()
        self._news = asyncio.Event()
        self._unacknowledged: list[bytes] = []  # packet ids; what is not at QoS 1 has its whole answer, or nothing
        self._unlike = 0  # how many of them are not at QoS 1
        self._reads = 0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Subscriber:
        """Begin to connect; nothing is waited for."""
        self._task = asyncio.create_task(self._keep_connected())
        self._task.add_done_callback(lambda _: self._news.set())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Send the acknowledgements that are due, then DISCONNECT; the broker keeps the session."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._connection is not None:
            await self._connection.close()

    async def read(self) -> Batch:
        """See MqttSource. Raises Refused or Untrusted when the broker does not want us."""
        self._done()
        while not self._waiting:
            if self._failure is not None:
                raise self._failure
            if self._task is not None and self._task.done():
                self._task.result()
            self._news.clear()
            await self._news.wait()
        return self._waiting.take()

    def relay(self, take: Callable[[Batch], None]) -> None:
        """See MqttSource."""
        self._done()
        if not self._waiting:
            self._take = take

    def acknowledge(self, count: int, epoch: int) -> None:
        """See MqttSource."""
        if epoch != self.epoch or self._connection is None:
            return
        due = self._unacknowledged[:count]
        del self._unacknowledged[:count]
        self._go_on()
        if not self._unlike:
            self._connection.send(acknowledgements(due))
            return
        answers = [b"\x40\x02" + each if len(each) == 2 else each for each in due]
        self._unlike -= sum(len(each) != 2 for each in due)
        self._connection.send(b"".join(answers))

    def publish(self, message: Message) -> None:
        """Publish on the connection that stands; nothing while there is none. BadInput: topic or size."""
        if self._connection is not None and self.subscribed.is_set():
            self._connection.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)

    def pause(self) -> None:
        """Read nothing more for now."""
        self._held = True
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        """Read again."""
        self._held = False
        self._go_on()

    def _done(self) -> None:
        if self._waiting.done():
            self._go_on()

    def _go_on(self) -> None:
        """Read again, unless there is another reason not to."""
        may = not self._held and not self._waiting.is_full and len(self._unacknowledged) <= self._most // 2
        if may and self._connection is not None:
            self._connection.resume()

    async def _keep_connected(self) -> None:
        while True:
            connection = await retrying(f"connecting to MQTT broker {self._settings.where}", self._connect)
            began = time.monotonic()
            self.subscribed.set()
            if self._presence is not None:
                self._presence.subscribed()
            why = await self._end_of(connection)
            self.subscribed.clear()
            if self._presence is not None:
                self._presence.lost()
            pause_s, hint = self.patience.after(time.monotonic() - began, connection.end_code)
            more = {"hint": hint} if hint else {}
            _log.warning(
                "mqtt connection lost", broker=self._settings.where, why=why, pause_s=round(pause_s, 2), **more
            )
            await asyncio.sleep(pause_s)

    async def _end_of(self, connection: Connection) -> str:
        """Wait for the end of a connection, and watch it; the answer says why it ended."""
        watching = asyncio.create_task(self.pulse.watch(connection, lambda: self._reads, self._is_busy))
        try:
            ended = asyncio.create_task(connection.ended())
            await asyncio.wait([watching, ended], return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()
            return await ended
        finally:
            watching.cancel()
            await asyncio.wait([watching])
            self.pulse.ended()

    def _is_busy(self) -> bool:
        return self._held or self._waiting.is_full or bool(self._unacknowledged)

    async def _connect(self) -> Connection:
        will = None if self._presence is None else self._presence.will()
        connection = await Connection.open(
            self._settings, self._client_id, self, gather_s=self._gather_s, will=will, sending=self._dialling
        )
        try:
            await connection.subscribe(self._filters, self._no_longer)
        except BaseException:
            if self._presence is not None:
                self._presence.lost()
            await connection.close()
            raise
        _log.info("mqtt connected", broker=self._settings.where, session_present=connection.session_present)
        return connection

    def opened(self, connection: Connection) -> None:
        """Begin an epoch."""
        self.epoch += 1
        self._connection = connection
        self._session_present = connection.session_present
        self._unacknowledged = []
        self._unlike = self._peak = 0
        self._take = None
        if self._held or self._waiting.is_full:
            connection.pause()
        self._put(Batch(self.epoch, connection.session_present, []))

    def received(self, messages: list[Publish]) -> None:
        """Keep them for `read`."""
        self._reads += 1
        unlike = [at for at, message in enumerate(messages) if message[0] & QOS != _QOS_1]
        if unlike and (kept := self.pulse.without_pulses(messages)) is not messages:
            if not kept:
                return
            messages = kept
            unlike = [at for at, message in enumerate(messages) if message[0] & QOS != _QOS_1]
        self._unacknowledged += [message[2] for message in messages]
        if unlike:
            first = len(self._unacknowledged) - len(messages)
            self._unlike += len(unlike)
            for at in unlike:
                if messages[at][0] & QOS:
                    self._unacknowledged[first + at] = _PUBREC + messages[at][2]
        waiting = len(self._unacknowledged)
        self._peak = max(self._peak, waiting)
        if waiting >= self._most and self._connection is not None:
            self._connection.pause()  # brokers send further ahead than they were allowed to
        self._put(Batch(self.epoch, self._session_present, messages))

    def may_rest(self) -> bool:
        """Not while the broker waits, or soon will, for acknowledgements: its window would stay closed for longer."""
        return len(self._unacknowledged) < max(_FEW, self._peak // 2)

    def _put(self, batch: Batch) -> None:
        if self._take is not None:
            try:
                self._take(batch)
            except Exception as error:  # noqa: BLE001  it is another's, who learns of it from `read`
                self._take, self._failure = None, error
                self._news.set()
            return
        self._waiting.put(batch, batch.messages)
        if self._waiting.is_full and self._connection is not None:
            self._connection.pause()
        self._news.set()
