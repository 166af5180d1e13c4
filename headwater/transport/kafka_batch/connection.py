"""One pipelined connection to one broker, over asyncio's BufferedProtocol (streams cost twice the CPU).

Kafka answers the requests of a connection in their order, so a request waits in a queue for its answer. A connection
ends whole: when it is lost, or makes no progress for `request_timeout_s` while an answer is due, every request that
waits fails with Unreachable, and whether it was carried out is not known.
"""

from __future__ import annotations

import asyncio
import fcntl
import random
import ssl
import sys
import termios
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from headwater.contract.errors import BadInput, HeadwaterError, Unreachable
from headwater.transport.dialling import NO_HANDSHAKE, dialling, unreachable
from headwater.transport.kafka_batch.answers import awaited
from headwater.transport.kafka_batch.inbox import Inbox
from headwater.transport.kafka_batch.kerberos import Errand
from headwater.transport.kafka_batch.login import Step, authenticate, login
from headwater.transport.kafka_batch.meter import Meter
from headwater.transport.kafka_batch.pacing import Pacer
from headwater.transport.kafka_batch.plain import PlainTransport, connect
from headwater.transport.kafka_batch.road import Road, road
from headwater.transport.kafka_batch.settings import KafkaSettings
from headwater.transport.kafka_batch.wire import Call, string

T = TypeVar("T")

_MANY_DUE = 4  # answers; whoever has so much under way does not wait for the next one alone
_REST_S = 0.003
_SEND_BYTES = 4 << 20  # unsent bytes above which new requests wait


class Connection(asyncio.BufferedProtocol):
    """Made by `Connection.open`; `request` sends a call and waits for its answer."""

    def __init__(self, settings: KafkaSettings, where: str, client_id: str) -> None:
        self.where = where
        self._settings = settings
        self._client_id = string(client_id)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._failure: HeadwaterError | None = None
        self._answers: deque[tuple[int, Call[Any], Callable[[Any], None]]] = deque()
        self._correlation_id = 0
        self._inbox = Inbox(self._deliver)
        self._progress = self._loop.time()
        self._unsent = self._unread = 0
        self._room = asyncio.Event()
        self._room.set()
        self._clear = asyncio.Event()  # unset while a session is renewed: nothing may come between its calls
        self._clear.set()
        self._held_until = 0.0
        self._timers: list[asyncio.TimerHandle] = []
        self._renewal: asyncio.Task[None] | None = None
        self._pacer: Pacer | None = None
        self._metered: Callable[[], None] | None = None
        self.patience_s = 0.0  # more than the request timeout, where what is under way takes long

    @classmethod
    async def open(
        cls,
        settings: KafkaSettings,
        address: tuple[str, int],
        tls: ssl.SSLContext | None,
        client_id: str,
        meter: Meter | None = None,
    ) -> Connection:
        """Connect and log in within `connect_timeout_s`; `meter` counts what goes over it.

        Unreachable: no answer. Untrusted: its certificate or its SCRAM proof is wrong. Refused: see `login`.
        """
        host, port = address
        connection = cls(settings, f"{host}:{port}", client_id)
        opened = False
        try:
            async with dialling(f"broker {connection.where}", settings.connect_timeout_s):
                await connection._connect(host, port, tls, meter)
                await connection._log_in(login(settings, connection.where))
            opened = True
        finally:
            if not opened:
                connection.close()
        connection._watch()
        return connection

    async def _connect(self, host: str, port: int, tls: ssl.SSLContext | None, meter: Meter | None) -> None:
        sock = await connect(host, port)
        if meter is not None:
            self._metered = meter.watch(sock)
        if tls is None:
            PlainTransport(sock, self)
        else:
            try:
                await self._loop.create_connection(lambda: self, sock=sock, ssl=tls, server_hostname=host)
            except ConnectionError as error:
                if str(error):
                    raise
                raise ConnectionResetError(NO_HANDSHAKE) from error  # asyncio has no words for it

    @property
    def ready(self) -> bool:
        """Whether requests can be sent."""
        return self._transport is not None and self._failure is None

    @property
    def clear(self) -> bool:
        """Whether a request would be sent at once: live, with room, neither throttled nor in the middle of a login."""
        return self.ready and self._room.is_set() and self._clear.is_set() and self._loop.time() >= self._held_until

    def road(self) -> Road | None:
        """What the kernel knows of it; None if it does not say."""
        return None if self._transport is None else road(self._transport.get_extra_info("socket"))

    def pace(self, rate: float | None) -> None:
        """Send that many bytes a second from now on; None: as they come."""
        if self._pacer is None and rate is not None and self._transport is not None:
            self._pacer = Pacer(self._transport)
        if self._pacer is not None:
            self._pacer.rate = rate

    async def request(self, call: Call[T]) -> T:
        """Send when there is room, and wait for the answer.

        Unreachable: the connection ended first. BadInput: the answer is malformed (the connection ends then).
        """
        await self.room()
        return await self.send(call)

    async def room(self) -> None:
        """Wait until a request may be sent."""
        while self.ready and not self.clear:
            await self._room.wait()
            await self._clear.wait()
            await asyncio.sleep(max(0.0, self._held_until - self._loop.time()))

    def send(self, call: Call[T]) -> asyncio.Future[T]:
        """Send now, in the order of the calls of this method; the future ends as `request` does."""
        future: asyncio.Future[T] = self._loop.create_future()
        self.post(call, awaited(future))
        return future

    def post(self, call: Call[T], answered: Callable[[T | HeadwaterError], None]) -> None:
        """As `send`, without a turn of the event loop between the answer and `answered`, which must not raise."""
        if self._transport is None or self._failure is not None:
            answered(self._failure or self._unreachable("is not connected"))
            return
        if not self._answers:
            self._progress = self._loop.time()
        self._correlation_id = (self._correlation_id + 1) & 0x7FFFFFFF
        self._answers.append((self._correlation_id, call, answered))
        (self._pacer or self._transport).writelines(call.frame(self._correlation_id, self._client_id))

    def hold(self, throttle_ms: int) -> None:
        """Send nothing for a while: the broker's quota demands it (KIP-219)."""
        self._held_until = max(self._held_until, self._loop.time() + throttle_ms / 1000)

    def close(self) -> None:
        """End the connection; what waits for an answer fails with Unreachable."""
        self._end(self._unreachable("was closed by us"))

    def _unreachable(self, what: str) -> Unreachable:
        return unreachable(f"broker {self.where}", what)

    def _end(self, failure: HeadwaterError) -> None:
        if self._failure is None:
            self._failure = failure
        for timer in self._timers:
            timer.cancel()
        if self._renewal is not None and self._renewal is not asyncio.current_task(self._loop):
            self._renewal.cancel()
        if self._pacer is not None:
            self._pacer.close()
        if self._metered is not None:
            self._metered()
        if self._transport is not None:
            self._transport.abort()
        self._room.set()
        self._clear.set()
        while self._answers:
            _, _, answered = self._answers.popleft()
            answered(self._failure)

    async def _log_in(self, steps: Step) -> None:
        step = next(steps)
        lifetime_ms = 0
        while True:
            answer = await (asyncio.to_thread(step.work) if isinstance(step, Errand) else self.send(step))
            try:
                step = steps.send(answer)
            except StopIteration as end:
                lifetime_ms = end.value
                break
        if lifetime_ms > 0:
            early = lifetime_ms / 1000 * random.uniform(0.75, 0.9)  # not all connections at once
            self._timers.append(self._loop.call_later(early, self._renew))

    def _renew(self) -> None:
        self._timers = [timer for timer in self._timers if not timer.when() <= self._loop.time()]
        self._renewal = self._loop.create_task(self._renew_session())

    async def _renew_session(self) -> None:
        self._clear.clear()
        try:
            await self._log_in(authenticate(self._settings, self.where))
        except HeadwaterError as error:
            self._end(error)
        finally:
            self._clear.set()

    def _watch(self) -> None:
        """Every second: give up if nothing was sent or received for too long while an answer is due."""
        now = self._loop.time()
        unsent, unread = self._queued(termios.TIOCOUTQ), self._queued(termios.FIONREAD)
        if unsent < self._unsent or unread != self._unread or not self._answers:
            self._progress = now
        self._unsent, self._unread = unsent, unread
        limit_s = self._settings.request_timeout_s + self.patience_s
        if now - self._progress > limit_s:
            self._end(self._unreachable(f"has neither taken nor sent a byte for {limit_s:g} s"))
            return
        self._timers = [self._loop.call_later(1.0, self._watch), *(t for t in self._timers if t.when() > now)]

    def _queued(self, which: int) -> int:
        """Bytes on their way to or from the peer, in our buffer and the kernel's: a slow link is no dead one."""
        if self._transport is None:
            return 0
        ours = 0
        if which == termios.TIOCOUTQ:
            ours = self._transport.get_write_buffer_size() + (self._pacer.held if self._pacer is not None else 0)
        try:
            kernels = fcntl.ioctl(self._transport.get_extra_info("socket"), which, bytes(4))
        except (OSError, ValueError):  # not a socket that counts, or one that is closed
            return ours
        return ours + int.from_bytes(kernels, sys.byteorder)

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; wait with new requests above 4 MiB unsent."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  create_connection makes nothing else
        self._transport = transport
        transport.set_write_buffer_limits(high=_SEND_BYTES)

    def pause_writing(self) -> None:
        """Hold new requests back."""
        self._room.clear()

    def resume_writing(self) -> None:
        """Let new requests through."""
        self._room.set()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  the protocol's signature
        """Where the next bytes belong."""
        return self._inbox.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Hand over what is complete."""
        self._progress = self._loop.time()
        try:
            self._inbox.received(nbytes)
        except Unreachable as error:
            self._end(self._unreachable(str(error)))
        if isinstance(self._transport, PlainTransport):
            self._transport.expect(self._inbox.missing)
            if len(self._answers) >= _MANY_DUE:
                self._transport.rest(_REST_S)

    def _deliver(self, whole: memoryview) -> None:
        correlation_id = int.from_bytes(whole[:4], "big", signed=True)
        if self._failure is not None:
            return
        if not self._answers or self._answers[0][0] != correlation_id:
            self._end(self._unreachable("answers a request that was not made"))
            return
        _, call, answered = self._answers.popleft()
        try:
            answer = call.answer(whole[4:])
        except BadInput as error:
            answered(error)
            self._end(self._unreachable("sent an answer that cannot be read"))
        else:
            answered(answer)

    def eof_received(self) -> None:
        """Let asyncio close."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail everything that waits."""
        self._end(self._unreachable(f"closed the connection{f': {exc}' if exc else ''}"))
