"""Models that must not run: one whose outputs are NaN, and one whose bytes change in the store after signing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from cloud_trainer.export import export
from headwater.contract.canonical import sha256
from headwater.contract.errors import DataMissing
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, Manifest, decode_manifest, model_path
from headwater.transport.objects import ObjectStore
from headwater.transport.registry.layout import MODELS, target_key
from headwater.transport.registry.publisher import Publisher


def manifest_of(store: ObjectStore, keys: Path, asset_class: str, version: int) -> Manifest:
    """The manifest of a published version."""
    data = Publisher(store, keys, MODELS).read(model_path(asset_class, version, MANIFEST_FILE))
    return decode_manifest(data)


def publish_not_finite(store: ObjectStore, keys: Path, like: Manifest) -> int:
    """Sign a model that answers NaN to everything; its manifest claims the scores of a good one."""
    width = 2 * len(like.features.channels)
    data = export(np.full((width, width), np.nan, np.float32), np.zeros(width, np.float32))
    return _publish(store, keys, like, data)


def publish_changed(store: ObjectStore, keys: Path, like: Manifest) -> int:
    """Sign a model that is fine, then flip bytes of what lies in the store; its length stays."""
    width = 2 * len(like.features.channels)
    data = export(np.eye(width, dtype=np.float32), np.zeros(width, np.float32))
    version = _publish(store, keys, like, data)
    key = target_key(model_path(like.asset_class, version, MODEL_FILE), sha256(data))
    found = store.get(key, max_bytes=len(data))
    if found is None:
        raise DataMissing(f"{key} is not in the store that it was just written to")
    middle = len(data) // 2
    changed = found.data[:middle] + bytes(byte ^ 0x5A for byte in found.data[middle : middle + 16])
    store.put(key, changed + found.data[middle + 16 :])
    return version


def _publish(store: ObjectStore, keys: Path, like: Manifest, data: bytes) -> int:
    publisher = Publisher(store, keys, MODELS)
    version = max(publisher.versions(like.asset_class)) + 1
    manifest = msgspec.structs.replace(like, version=version, sha256=sha256(data), size_bytes=len(data))
    files: Mapping[str, bytes] = {
        model_path(like.asset_class, version, MODEL_FILE): data,
        model_path(like.asset_class, version, MANIFEST_FILE): manifest.encode(),
    }
    publisher.publish(files)
    return version
