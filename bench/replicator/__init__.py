"""Cluster to cluster: the replicator beside MirrorMaker 2 and a plain confluent-kafka loop."""
