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

DESCRIPTION = b"T-squared"  # stands in the description of every model of ours (cloud_trainer/export.py)


def manifest_of(store: ObjectStore, keys: Path, asset_class: str, version: int) -> Manifest:
    """The manifest of a published version."""
    data = Publisher(store, keys, MODELS).read(model_path(asset_class, version, MANIFEST_FILE))
    return decode_manifest(data)


def publish_not_finite(store: ObjectStore, keys: Path, like: Manifest) -> int:
    """Sign a model that answers NaN to everything; its manifest claims the scores of a good one."""
    width = like.features.width
    data = export(np.full((width, width), np.nan, np.float32), np.zeros(width, np.float32))
    return _publish(store, keys, like, data)


def publish_changed(store: ObjectStore, keys: Path, like: Manifest) -> int:
    """Sign a copy of a good model, then change bytes of what lies in the store.

    Only its description changes: it loads, has the same length and gives the right scores, so that nothing but
    the digest can tell.
    """
    good = Publisher(store, keys, MODELS).read(model_path(like.asset_class, like.version, MODEL_FILE))
    data = good.replace(DESCRIPTION, DESCRIPTION.swapcase(), 1)
    changed = good.replace(DESCRIPTION, DESCRIPTION.title(), 1)
    if len({good, data, changed}) != 3:
        raise DataMissing(f"version {like.version} of {like.asset_class} has no description to change")
    version = _publish(store, keys, like, data)
    store.put(target_key(model_path(like.asset_class, version, MODEL_FILE), sha256(data)), changed)
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
