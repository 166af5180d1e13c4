"""Brings one version from the store to the shelf: signed, the one that was asked for, tried."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.updater.settings import UpdaterSettings
from edge_agent.updater.shelf import Shelf
from edge_agent.updater.trial import try_model
from headwater.contract.errors import BadInput, Untrusted
from headwater.contract.features import FeatureSpec
from headwater.contract.manifest import (
    MANIFEST_FILE,
    MAX_MANIFEST_BYTES,
    MAX_MODEL_BYTES,
    MODEL_FILE,
    Manifest,
    decode_manifest,
    model_path,
)
from headwater.contract.refusals import BAD_DIGEST, BAD_MANIFEST, FEATURES_UNKNOWN, NOT_SIGNED
from headwater.contract.rollout import Target
from headwater.transport.registry.client import Client


class _OnlyFeatures(msgspec.Struct):
    features: FeatureSpec


class _AnyFeatures(msgspec.Struct):
    features: dict[str, Any]


@dataclass(frozen=True)
class Fetcher:
    """The road of a version: `models` role, digest that `rollout` names, manifest, model, trial, shelf."""

    client: Client
    shelf: Shelf
    settings: UpdaterSettings

    def bring(self, asset_class: str, target: Target) -> int:
        """Put a version onto the shelf and return the bytes fetched for it.

        Raises an error with a reason code when the version is refused, one without when the moment is bad.
        """
        before = self.client.fetched_bytes
        self._check_signed(asset_class, target)
        try:
            self._bring(asset_class, target, self.shelf.staging())
        finally:
            self.shelf.sweep()  # what was not placed takes no space, least of all on a full disk
        return self.client.fetched_bytes - before

    def _bring(self, asset_class: str, target: Target, staging: Path) -> None:
        manifest_file = self._fetch(asset_class, target.version, MANIFEST_FILE, staging, MAX_MANIFEST_BYTES)
        manifest = understood(manifest_file.read_bytes())
        if (manifest.asset_class, manifest.version) != (asset_class, target.version):
            raise BadInput(
                f"the manifest of {asset_class} v{target.version} is of {manifest.asset_class} v{manifest.version}",
                reason=BAD_MANIFEST,
            )
        if manifest.sha256 != target.sha256:
            raise Untrusted(f"the manifest of {asset_class} v{target.version} names another model", reason=BAD_DIGEST)
        model_file = self._fetch(asset_class, target.version, MODEL_FILE, staging, MAX_MODEL_BYTES)
        try_model(model_file, manifest_file, self.settings)
        self.shelf.place(asset_class, target.version, staging)

    def _check_signed(self, asset_class: str, target: Target) -> None:
        """The release signer's yes beside the fleet's: both name the same digest."""
        signed = self.client.target(model_path(asset_class, target.version, MODEL_FILE))
        if signed is None:
            raise Untrusted(f"{asset_class} v{target.version} is not signed by `models`", reason=NOT_SIGNED)
        if signed.sha256 != target.sha256:
            raise Untrusted(
                f"the rollout names {asset_class} v{target.version} as {target.sha256}, signed is {signed.sha256}",
                reason=BAD_DIGEST,
            )

    def _fetch(self, asset_class: str, version: int, name: str, staging: Path, most: int) -> Path:
        return self.client.fetch(model_path(asset_class, version, name), staging, max_bytes=most)


def understood(data: bytes) -> Manifest:
    """The manifest in `data`; BadInput with `features-unknown` or `bad-manifest`."""
    try:
        return decode_manifest(data)
    except BadInput as error:
        reason = BAD_MANIFEST if _features_are_known(data) else FEATURES_UNKNOWN
        raise BadInput(str(error), hint=error.hint, reason=reason) from error


def _features_are_known(data: bytes) -> bool:
    """False only where there is a feature specification that this agent cannot compute."""
    try:
        msgspec.json.decode(data, type=_AnyFeatures)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True  # no specification at all: the manifest is broken
    try:
        msgspec.json.decode(data, type=_OnlyFeatures).features.check()
    except (msgspec.DecodeError, BadInput):
        return False
    return True
