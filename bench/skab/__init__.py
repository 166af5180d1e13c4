"""Anomaly detection on recordings of a test rig, by the official protocol and strictly causal."""
