"""Finding a model by what people call it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from headwater.contract.canonical import sha256
from headwater.contract.errors import BadInput, DataMissing, Untrusted
from headwater.contract.manifest import (
    MANIFEST_FILE,
    MAX_MANIFEST_BYTES,
    MAX_MODEL_BYTES,
    MODEL_FILE,
    Manifest,
    decode_manifest,
    model_path,
)
from headwater.contract.names import PATTERN
from headwater.transport.files import read_named

HOW = (
    "name a folder with model.tflite and manifest.json, or a published one as pump/3, pump (the newest), or by SHA-256"
)
_log = structlog.get_logger(__name__)
_DIGEST = re.compile(r"[0-9a-f]{8,64}")


class Versions(Protocol):
    """Where versions of a class are read; `headwater.transport.registry.publisher.Publisher` is one."""

    def versions(self, asset_class: str) -> list[int]:
        """Published versions of a class, lowest first."""
        ...

    def read(self, path: str) -> bytes:
        """Content of a signed file."""
        ...


class Published(Versions, Protocol):
    """The same, with the signed files of all classes."""

    def targets(self, prefix: str = "") -> Mapping[str, object]:
        """Every signed file whose path begins with `prefix`."""
        ...


@dataclass(frozen=True)
class Model:
    """Both files of a model, and where they are; `folder` is None for a published one."""

    manifest: Manifest
    data: bytes  # of model.tflite
    manifest_bytes: bytes
    where: str
    folder: Path | None = None

    @property
    def name(self) -> str:
        """Class and version in words."""
        return f"{self.manifest.asset_class} version {self.manifest.version}"


def from_folder(folder: Path) -> Model:
    """The model in a folder; BadInput where a file is missing, Untrusted where they do not belong together."""
    manifest_bytes = read_named(folder / MANIFEST_FILE, MAX_MANIFEST_BYTES)
    data = read_named(folder / MODEL_FILE, MAX_MODEL_BYTES)
    return _model(manifest_bytes, data, str(folder), folder)


def from_published(models: Versions, asset_class: str, version: int) -> Model:
    """A published version; BadInput where it is not published."""
    if version not in models.versions(asset_class):
        raise BadInput(f"version {version} of {asset_class} is not published", hint=HOW)
    manifest_bytes = models.read(model_path(asset_class, version, MANIFEST_FILE))
    data = models.read(model_path(asset_class, version, MODEL_FILE))
    return _model(manifest_bytes, data, f"published as {asset_class} version {version}")


def manifests(models: Versions, asset_class: str) -> Iterator[Manifest]:
    """Manifests of a class, the newest version's first; one that does not read back is passed over with a warning."""
    for version in reversed(models.versions(asset_class)):
        try:
            yield decode_manifest(models.read(model_path(asset_class, version, MANIFEST_FILE)))
        except (Untrusted, DataMissing) as error:
            _log.warning("a manifest does not read back", of=asset_class, version=version, why=str(error))


def is_folder(name: str) -> bool:
    """Whether a model is named by its folder."""
    return Path(name, MANIFEST_FILE).is_file() or (Path(name).is_dir() and not PATTERN.fullmatch(name))


def find_published(models: Published, name: str) -> Model:
    """The published model `class/version`, the newest of `class`, or the one with a SHA-256 beginning like `name`."""
    asset_class, slash, version = name.partition("/")
    if slash and PATTERN.fullmatch(asset_class) and version.isdecimal():
        return from_published(models, asset_class, int(version))
    if PATTERN.fullmatch(name) and (versions := models.versions(name)):
        return _newest(models, name, versions)
    if _DIGEST.fullmatch(name):
        return _by_digest(models, name)
    raise BadInput(f"there is no model {name!r}", hint=HOW)


def _newest(models: Published, asset_class: str, versions: list[int]) -> Model:
    """The newest version; where its copy in the store is damaged or gone, with a warning, the newest that reads back.

    The error of the newest where none reads back.
    """
    first: Untrusted | DataMissing | None = None
    for version in reversed(versions):
        try:
            return from_published(models, asset_class, version)
        except (Untrusted, DataMissing) as error:
            _log.warning("a published version does not read back", of=asset_class, version=version, why=str(error))
            first = first or error
    raise first or BadInput(f"no version of {asset_class} is published", hint=HOW)


def _by_digest(models: Published, digest: str) -> Model:
    found = []
    for path in sorted(models.targets("models/")):
        _, asset_class, version, file = path.split("/")
        if file == MANIFEST_FILE and decode_manifest(models.read(path)).sha256.startswith(digest):
            found.append((asset_class, int(version)))
    if not found:
        raise BadInput(f"no published model has a SHA-256 that begins with {digest}", hint=HOW)
    return from_published(models, *found[-1])  # versions with the same bytes differ in their manifests: the newest


def _model(manifest_bytes: bytes, data: bytes, where: str, folder: Path | None = None) -> Model:
    manifest = decode_manifest(manifest_bytes)
    if sha256(data) != manifest.sha256:
        raise Untrusted(
            f"{where}: {MODEL_FILE} has SHA-256 {sha256(data)}, its manifest says {manifest.sha256}",
            hint="they do not belong together: train or download the model again",
        )
    return Model(manifest, data, manifest_bytes, where, folder)
