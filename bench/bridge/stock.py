"""What a careful user writes: paho-mqtt with manual acknowledgement, confluent-kafka, acknowledge after delivery.

`python -m bench.bridge.stock MQTT_PORT BROKERS CLIENT_ID TOPIC_FILTER KAFKA_TOPIC [DROP]`; at-least-once. paho's
thread reads and produces, the main thread waits for Kafka's answers and acknowledges. DROP is the number of a reading
to lose on purpose, so that a test can see the benchmark notice.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as mqtt
from confluent_kafka import Producer
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bench.bridge.load import number_of

_RECEIVE_MAXIMUM = 1000


def main(port: int, brokers: str, client_id: str, topic_filter: str, kafka_topic: str, drop: int = -1) -> None:
    """Bridge until SIGTERM."""
    producer = Producer(
        {
            "bootstrap.servers": brokers,
            "enable.idempotence": True,
            "linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
            "message.timeout.ms": 0,
        }
    )
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5, manual_ack=True)

    def delivered(mid: int) -> Callable[[Any, Any], None]:
        def acknowledge(error: Any, _record: Any) -> None:
            if error is None:
                client.ack(mid, 1)

        return acknowledge

    def on_message(_client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        payload = bytes(message.payload)
        if drop >= 0 and number_of(payload) == drop:
            client.ack(message.mid, 1)
            return
        producer.produce(kafka_topic, payload, key=message.topic, on_delivery=delivered(message.mid))

    def on_connect(*_about: Any) -> None:
        client.subscribe(topic_filter, 1)

    client.on_message = on_message
    client.on_connect = on_connect
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's own
    properties.SessionExpiryInterval = 3600
    properties.ReceiveMaximum = _RECEIVE_MAXIMUM
    client.connect("127.0.0.1", port, 60, clean_start=False, properties=properties)
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopping.append(number))
    client.loop_start()
    while not stopping:
        producer.poll(0.1)
    producer.flush(10)
    client.disconnect()
    client.loop_stop()


if __name__ == "__main__":
    where, servers, session, wanted, written, *lost = sys.argv[1:]
    main(int(where), servers, session, wanted, written, *map(int, lost))
