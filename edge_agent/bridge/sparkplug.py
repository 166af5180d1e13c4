"""What a life of the bridge has for its Sparkplug route: the host with the states of former lives, and its presence."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from edge_agent.bridge import sparkplug_states
from edge_agent.bridge.live import SparkplugView
from edge_agent.bridge.recogniser import Mark, Recogniser
from edge_agent.bridge.route_settings import RouteSettings
from edge_agent.bridge.sparkplug_marks import Stands, started_of
from edge_agent.bridge.tails import Tails
from headwater.contract.decoders.sparkplug_b import options_of
from headwater.contract.errors import BadInput
from headwater.contract.sparkplug import Host, Outcome, Publish
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.mqtt.presence import Message
from headwater.transport.mqtt.source import Subscriber

if TYPE_CHECKING:
    from edge_agent.settings import EdgeSettings

_log = structlog.get_logger(__name__)


class Presence:
    """The host on the bridge's MQTT connection. `on_loss` is told when that has ended."""

    def __init__(self, host: Host) -> None:
        self.subscriber: Subscriber | None = None
        self.on_loss: Callable[[], None] = lambda: None
        self._host = host
        self._waiting: list[Publish] = []  # until the subscriptions stand

    def publish(self, what: Publish) -> None:
        """Publish on the connection that stands, once it is subscribed; nothing where there is none."""
        if self.subscriber is None:
            return
        if not self.subscriber.subscribed.is_set():
            self._waiting.append(what)
            return
        try:
            self.subscriber.publish(Message(*what))
        except BadInput as error:
            _log.warning("a sparkplug request cannot be published", topic=what.topic, why=str(error))

    def will(self) -> Message | None:
        """See transport/mqtt/presence.py."""
        wanted = self._host.will(now_ms())
        return None if wanted is None else Message(*wanted)

    def subscribed(self) -> None:
        """See transport/mqtt/presence.py."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            self.publish(each)

    def lost(self) -> None:
        """See transport/mqtt/presence.py."""
        self._waiting = []
        self.on_loss()


class Sparkplug:
    """Of one life. `began` is what the host says of the time in which no life was connected.

    `stands`: by edge node, what the state that was taken up stands for. `unsaved`: births that no state has and that
    are about to come again.
    """

    def __init__(self, route: RouteSettings, site: str) -> None:
        self.route = route
        self.site = site
        self.options = options_of(route.decoder)
        self.host = Host(self.options)
        self.presence = Presence(self.host)
        self.began = Outcome()
        self.stands: dict[str, Stands] = {}
        self.settled: list[Mark] = []
        self.unsaved: list[sparkplug_states.Position] = []

    @classmethod
    async def open(
        cls, settings: EdgeSettings, route: RouteSettings, cluster: Cluster, tails: Tails, recogniser: Recogniser
    ) -> Sparkplug:
        """Take up what former lives left in Kafka; `tails` are those of the topics that messages are written to."""
        opened = cls(route, settings.site)
        left = await sparkplug_states.former(cluster, settings.site, tails, recogniser.client_id)
        opened.unsaved = sparkplug_states.take_up(opened.host, left, started_of(recogniser.session))
        recogniser.learn(left.settled)
        opened.settled = left.settled
        opened.stands = left.stands
        opened.began = opened.host.disconnected(left.newest_ms)
        _log.info(
            "sparkplug states taken up",
            edge_nodes=len(opened.host.edge_nodes()),
            positions=len(left.positions),
            role=opened.options.role,
        )
        return opened

    @property
    def view(self) -> SparkplugView:
        """What is told of it when somebody asks."""
        options, found = self.options, self.host.standing()._asdict()
        return SparkplugView(role=options.role, host_id=options.host_id, events=dict(self.host.counts), **found)


def now_ms() -> int:
    """Unix time."""
    return time.time_ns() // 1_000_000
