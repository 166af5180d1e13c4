"""A dataset from recordings in a folder, for those who have files and no cluster."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np

from cloud_trainer.columns import Columns
from cloud_trainer.dataset import training_set
from cloud_trainer.series import TrainingSet
from headwater.contract.errors import BadInput
from headwater.contract.names import check_site
from headwater.contract.reading import Reading, encode
from headwater.transport.recordings import recordings

_LENGTH = struct.Struct(">q")


def from_folder(folder: Path, asset_class: str, site: str, rows: int | None = None) -> TrainingSet:
    """The first `rows` of each recording (all of them if None), taken to be healthy; labels are never looked at.

    In the dataset's offsets a file stands for a topic with one partition, and row numbers for offsets. The digest
    runs over file name and asset, then each payload behind its length. BadInput as `recordings` raises it.
    """
    check_site(site)
    if rows is not None and rows < 1:
        raise BadInput(f"{rows} rows of each recording are nothing to learn from")
    digest = hashlib.sha256()
    columns: dict[str, Columns] = {}
    offsets = {}
    for recording in recordings(folder):
        name = recording.path.relative_to(folder).as_posix()
        digest.update(f"{name}\0{recording.asset}\0".encode())
        collected = columns[f"{site}/{recording.asset}"] = Columns()
        for row in recording.rows[:rows]:
            payload = encode(row.t, row.values)
            digest.update(_LENGTH.pack(len(payload)) + payload)
            collected.add(Reading(row.t, row.values))
        offsets[name] = {"0": (0, len(collected))}
    healthy = {key: np.ones(len(one), dtype=bool) for key, one in columns.items()}
    return training_set(asset_class, columns, healthy, offsets, digest.hexdigest(), {})
