"""A watchdog for connections that live while no messages come through them.

A broker may answer PINGREQ for days and deliver nothing: its session lost the subscription, or hangs. When nothing has
arrived for `pulse_s`, a message of our own is sent to ourselves at QoS 0, and a PINGREQ behind it. If the broker
answers that and the pulse does not come back, messages do not pass: the connection is made anew.

Nothing is subscribed to or sent while messages come, and none is missed while the caller owes acknowledgements: a
broker may rightly wait for those. A broker whose access list forbids the topic is told from one that hangs by this:
never has a pulse come back. Then there is one warning, and no watchdog.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from headwater.contract.errors import Unreachable
from headwater.transport.mqtt.connection import Connection
from headwater.transport.mqtt.packets import QOS, Publish

PREFIX = b"headwater-pulse/"  # messages at QoS 0 below it are pulses, of us or of others, and go no further
_BACK_S = 10.0  # a pulse that takes longer is lost
_MOST_STALLS = 3  # in a row: what was allowed once may be forbidden by now
_MOST_SUSPICIONS = 2  # connections that ended while the first pulse was out: some brokers so answer what they forbid

_log = structlog.get_logger(__name__)


class Pulse:
    """The watchdog of one session over all its connections; `stalls` counts the connections that it ended."""

    def __init__(self, client_id: str, pulse_s: float, where: str) -> None:
        self.topic = PREFIX.decode() + "".join("_" if char in "+#\0" else char for char in client_id)
        self.stalls = 0
        self.is_on = pulse_s > 0
        self._pulse_s = pulse_s
        self._back_s = min(_BACK_S, max(1.0, pulse_s))
        self._where = where
        self._came = asyncio.Event()
        self._is_out = False  # something was sent, and there is no answer yet
        self._is_proved = False  # a pulse has come back in this life
        self._suspicions = 0
        self._in_a_row = 0

    def without_pulses(self, messages: list[Publish]) -> list[Publish]:
        """What is left of the messages of a read; take note of a pulse among them."""
        if not any(message[1].startswith(PREFIX) and not message[0] & QOS for message in messages):
            return messages
        mine = self.topic.encode()
        kept = []
        for message in messages:
            if message[0] & QOS or not message[1].startswith(PREFIX):
                kept.append(message)
            elif message[1] == mine:
                self._came.set()
        return kept

    async def watch(self, connection: Connection, arrived: Callable[[], int], is_busy: Callable[[], bool]) -> None:
        """Watch one connection until it ends; ends it when it stalls.

        `arrived` grows with what arrives; `is_busy` says that the broker may rightly send nothing.
        """
        is_subscribed = False
        while self.is_on:
            before = arrived()
            await asyncio.sleep(self._pulse_s)
            if arrived() != before or is_busy():
                continue
            self._is_out = True
            try:
                if not is_subscribed and not await connection.is_granted(self.topic):
                    self._switch_off("it may not subscribe to it")
                    break
                is_subscribed = True
                await self._send(connection, arrived, is_busy)
            except Unreachable as error:  # SUBSCRIBE without an answer
                self._stalled(connection, str(error))
            self._is_out = False

    def ended(self) -> None:
        """Take note of the end of a connection."""
        if self._is_out and not self._is_proved and self.is_on:
            self._suspicions += 1
            if self._suspicions >= _MOST_SUSPICIONS:
                self._switch_off("the broker ends the connection")
        self._is_out = False

    async def _send(self, connection: Connection, arrived: Callable[[], int], is_busy: Callable[[], bool]) -> None:
        self._came.clear()
        before, sent_at = arrived(), time.monotonic()
        connection.pulse(self.topic)
        try:
            async with asyncio.timeout(self._back_s):
                await self._came.wait()
        except TimeoutError:
            if arrived() != before or is_busy() or connection.heard < sent_at:
                return  # messages pass; or not even the PINGREQ was answered, which the keepalive looks after
            self._stalled(connection, f"no messages pass: a pulse did not come back in {self._back_s:g} s")
            return
        self._is_proved = True
        self._in_a_row = self._suspicions = 0

    def _stalled(self, connection: Connection, why: str) -> None:
        if not self._is_proved:
            self._switch_off("the first pulse did not come back")
            return
        self._in_a_row += 1
        if self._in_a_row > _MOST_STALLS:
            self._switch_off(f"pulses came back once, and not on the last {_MOST_STALLS} connections")
            return
        self.stalls += 1
        connection.give_up(why)

    def _switch_off(self, why: str) -> None:
        self.is_on = False
        _log.warning(
            "mqtt connections are not watched for messages that stop",
            broker=self._where,
            topic=self.topic,
            why=why,
            hint=f"allow this user to publish and to subscribe to {self.topic}, or set pulse_s = 0",
        )
