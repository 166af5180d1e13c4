"""The wire to an MQTT broker, on paho-mqtt: a source that acknowledges late, and a publisher."""
