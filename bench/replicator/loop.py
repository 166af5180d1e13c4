"""What a careful user writes: consume and produce with confluent-kafka, everything of a record kept, idempotent.

`python -m bench.replicator.loop SOURCE TARGET TOPIC TARGET_TOPIC PARTITIONS CODEC LINGER_MS [PEM]`, until SIGTERM.
`fetch.queue.backoff.ms` is lowered from its second, which alone makes the loop three times as slow.
"""

from __future__ import annotations

import signal
import sys

from confluent_kafka import Consumer, Producer, TopicPartition


def main(
    source: str, target: str, topic: str, to: str, partitions: int, codec: str, linger_ms: int, pem: str = ""
) -> None:
    """Copy until SIGTERM."""
    tls = {"security.protocol": "SSL", "ssl.ca.location": pem} if pem else {}
    consumer = Consumer(
        {
            "bootstrap.servers": source,
            "group.id": "loop",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "queued.max.messages.kbytes": 32_768,
            "fetch.max.bytes": 16 << 20,
            "max.partition.fetch.bytes": 4 << 20,
            "fetch.queue.backoff.ms": 5,
            **tls,
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    producer = Producer(
        {
            "bootstrap.servers": target,
            "enable.idempotence": True,
            "linger.ms": linger_ms,
            "batch.size": 1_000_000,
            "batch.num.messages": 100_000,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 262_144,
            "compression.type": codec,
            **tls,
        }
    )
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopping.append(number))
    while not stopping:
        for message in consumer.consume(2000, 0.005 if linger_ms < 50 else 0.1):
            if message.error():
                raise SystemExit(str(message.error()))
            while True:
                try:
                    producer.produce(
                        to,
                        message.value(),
                        message.key(),
                        message.partition() or 0,
                        timestamp=message.timestamp()[1],
                        headers=message.headers(),
                    )
                    break
                except BufferError:
                    producer.poll(0.05)
        producer.poll(0)
    producer.flush(10)
    consumer.close()


if __name__ == "__main__":
    source, target, topic, to, partitions, codec, linger, *pem = sys.argv[1:]
    main(source, target, topic, to, int(partitions), codec, int(linger), *pem)
