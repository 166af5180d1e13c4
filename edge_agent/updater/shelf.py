"""The versions on this edge's disk: `<state>/models/<class>/<version>/{model.tflite,manifest.json}`.

A version is on the shelf only when both files have the digests that were signed, which is looked at each time; a crash
at any point leaves a version that is, or one that will be fetched again.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from headwater.contract.canonical import sha256
from headwater.contract.desired import model_folder
from headwater.contract.manifest import MANIFEST_FILE, MAX_MANIFEST_BYTES, MAX_MODEL_BYTES, MODEL_FILE
from headwater.contract.rollout import Target
from headwater.transport.files import file_error, sync_folder

_STAGING = "staging"


class Shelf:
    """Kept versions below one state folder."""

    def __init__(self, state: Path) -> None:
        self._state = state

    def has(self, asset_class: str, target: Target, manifest_sha256: str) -> bool:
        """Whether that version is here, both files as they were signed."""
        folder = self._state / model_folder(asset_class, target.version)
        try:
            model = _digest(folder / MODEL_FILE, MAX_MODEL_BYTES)
            manifest = _digest(folder / MANIFEST_FILE, MAX_MANIFEST_BYTES)
        except OSError:
            return False
        return (model, manifest) == (target.sha256, manifest_sha256)

    def staging(self) -> Path:
        """An empty folder for what is not proven yet."""
        folder = self._state / _STAGING
        try:
            self.sweep()
            folder.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise file_error(error, folder) from error
        return folder

    def sweep(self) -> None:
        """Remove what was not placed."""
        shutil.rmtree(self._state / _STAGING, ignore_errors=True)

    def place(self, asset_class: str, version: int, staging: Path) -> None:
        """Move both files from `staging` (where they are durable) to their place; Permanent when the disk refuses."""
        folder = self._state / model_folder(asset_class, version)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name in (MODEL_FILE, MANIFEST_FILE):
                (staging / name).replace(folder / name)
            for made in (folder, folder.parent, folder.parent.parent, self._state):
                sync_folder(made)
        except OSError as error:
            raise file_error(error, folder) from error

    def touch(self, asset_class: str, version: int) -> None:
        """Make a version the last one used, so that it is the last to go."""
        os.utime(self._state / model_folder(asset_class, version))

    def prune(self, asset_class: str, keep: int, wanted: int | None) -> list[int]:
        """Remove all but the `keep` versions used last, never the wanted one; return what went."""
        parent = (self._state / model_folder(asset_class, 0)).parent
        found = [folder for folder in parent.glob("*") if folder.name.isdecimal()]
        latest = sorted(found, key=lambda f: (int(f.name) == wanted, f.stat().st_mtime_ns), reverse=True)
        for folder in latest[keep:]:
            shutil.rmtree(folder, ignore_errors=True)
        return sorted(int(folder.name) for folder in latest[keep:])


def _digest(path: Path, most: int) -> str:
    with path.open("rb") as file:
        return sha256(file.read(most + 1))
