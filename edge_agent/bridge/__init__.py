"""The bridge: MQTT to `readings`, each message once, acknowledged to MQTT only after Kafka has its record."""
