"""The local stack: real Kafka clusters, an MQTT broker and an S3 server on loopback, in one folder."""
