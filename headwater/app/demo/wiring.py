"""The settings files of the demo: one a site and one for the cloud, the same that a user would write."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr

from headwater.app.demo.processes import write_toml
from headwater.app.stack.s3 import READER, credentials_of
from headwater.app.stack.state import StackState
from headwater.transport.mqtt.settings import MqttSettings
from headwater.transport.objects import ObjectSettings, ObjectStore, open_store


def object_settings(state: StackState) -> dict[str, Any]:
    """The store in which signed models lie."""
    s3 = state.s3
    return {
        "endpoint": s3.endpoint,
        "bucket": s3.bucket,
        "prefix": "fleet/",
        "access_key": s3.access_key,
        "secret_key": s3.secret_key,
    }


def store_of(state: StackState) -> ObjectStore:
    """The same, opened."""
    values = object_settings(state)
    return open_store(ObjectSettings(**{**values, "secret_key": SecretStr(values["secret_key"])}))


def mqtt_settings(state: StackState) -> MqttSettings:
    """The broker; the stand-in for Mosquitto speaks no MQTT 5."""
    protocol: Literal["5", "3.1.1"] = "5" if state.mqtt.persistent_sessions else "3.1.1"
    return MqttSettings(host=state.mqtt.host, port=state.mqtt.port, protocol=protocol)


def reading_settings(folder: Path, state: StackState) -> dict[str, Any]:
    """The same store for an edge, whose credentials may only read; `folder` is the one of the stack."""
    keys = credentials_of(folder / "s3", READER)
    return object_settings(state) | {"access_key": keys.access_key, "secret_key": keys.secret_key}


def write_site(folder: Path, site: str, asset_class: str, state: StackState, root_file: Path) -> Path:
    """`headwater.toml` of one plant: edge agent and replicator."""
    path = folder / f"{site}.toml"
    objects = reading_settings(folder / "stack", state)
    local = {"brokers": state.clusters[site]}
    edge = {
        "site": site,
        "asset_classes": [asset_class],
        "kafka": local,
        "mqtt": mqtt_settings(state).model_dump(include={"host", "port", "protocol"}),
        "updater": {"poll_interval_s": 1.0, "root_file": str(root_file), "objects": objects},
        "scorer": {"status_interval_s": 1.0},
    }
    link = {"site": site, "source": local, "target": {"brokers": state.clusters["cloud"]}, "position_interval_s": 1.0}
    write_toml(path, {"edge": edge, "replicator": link})
    return path


def write_cloud(folder: Path, state: StackState, keys: Path) -> Path:
    """`headwater.toml` of the cloud: trainer and fleet."""
    path = folder / "cloud.toml"
    part = {
        "kafka": {"brokers": state.clusters["cloud"]},
        "objects": object_settings(state),
        "keys": str(keys),
    }
    write_toml(path, {"trainer": part, "fleet": part})
    return path
