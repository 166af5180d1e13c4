"""SUBSCRIBE, and what the broker grants (MQTT 5, 3.8 and 3.9)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from headwater.contract.errors import Refused
from headwater.transport.dialling import unreachable
from headwater.transport.mqtt.keepalive import Keepalive
from headwater.transport.mqtt.settings import MqttSettings

_RETAIN = {
    "new": SubscribeOptions.RETAIN_SEND_IF_NEW_SUB,
    "always": SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE,
    "never": SubscribeOptions.RETAIN_DO_NOT_SEND,
}


class Subscribing:
    """The subscriptions of one connection; `ended` is done when that ends."""

    def __init__(
        self, client: paho.Client, settings: MqttSettings, ended: asyncio.Future[str], alive: Keepalive
    ) -> None:
        self._paho = client
        self._settings = settings
        self._ended = ended
        self._alive = alive
        self._asked: dict[int | None, asyncio.Future[list[ReasonCode]]] = {}  # by packet id
        client.on_subscribe = self._on_subscribe

    async def ask(self, names: Sequence[str], qos: int, retained: str) -> list[ReasonCode]:
        """Subscribe to all of them in one packet; the answer has a code for each.

        Unreachable: the broker does not answer, and sends nothing else for `connect_timeout_s`. It may have much to
        send first: the answer comes behind all that is open from the connection before.
        """
        asked: Any = [(name, qos) for name in names]
        if self._settings.protocol == "5":
            how = SubscribeOptions(qos=qos, retainHandling=_RETAIN[retained])
            asked = [(name, how) for name in names]
        packet_id = self._paho.subscribe(asked)[1]
        answer: asyncio.Future[list[ReasonCode]] = asyncio.get_running_loop().create_future()
        self._asked[packet_id] = answer
        wait, heard = (answer, self._ended), -1.0
        while heard < self._alive.heard and not any(each.done() for each in wait):
            heard = self._alive.heard
            await asyncio.wait(wait, timeout=self._settings.connect_timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done() or len(answer.result()) != len(names):
            raise unreachable(f"MQTT broker {self._settings.where}", f"did not answer SUBSCRIBE {', '.join(names)}")
        return answer.result()

    async def demand(self, filters: Sequence[str], qos: int) -> None:
        """Subscribe as the settings say. Refused: the broker does not grant the QoS. Unreachable: see `ask`."""
        group = self._settings.share_group
        names = [f"$share/{group}/{name}" if group else name for name in filters]
        for name, granted in zip(names, await self.ask(names, qos, self._settings.retained), strict=True):
            if granted.value not in (qos, 2):
                raise Refused(
                    f"MQTT broker {self._settings.where} does not grant QoS {qos} on {name}: {granted}",
                    hint=f"allow this user to subscribe to it, at QoS {qos}",
                )

    def _on_subscribe(self, _c: Any, _u: Any, packet_id: int, codes: Any, _p: Any) -> None:
        answer = self._asked.pop(packet_id, None)
        if answer is not None and not answer.done():
            answer.set_result(codes)
