"""MQTT to Kafka: the bridge beside a careful script, Telegraf, and what the MQTT broker alone can deliver."""
