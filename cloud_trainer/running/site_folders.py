"""Recordings of many sites: each folder in a folder is a site, and holds its recordings."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from cloud_trainer.datasets.building import from_folder
from cloud_trainer.series import Series, TrainingSet
from headwater.contract.errors import BadInput
from headwater.contract.manifest import Dataset
from headwater.contract.names import check_site


def from_site_folders(folder: Path, asset_class: str) -> TrainingSet:
    """`folder/lyon/*.csv` are assets of the site `lyon`; every row is taken to be healthy.

    The digest runs over the name of each site and the digest of its folder. BadInput as `recordings` raises it, and
    where there is no folder of a site.
    """
    sites = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not sites:
        raise BadInput(f"{folder} has no folder of a site", hint="lay it out as FOLDER/lyon/pump-1.csv")
    parts = {check_site(path.name): from_folder(path, asset_class, path.name) for path in sites}
    channels = tuple(sorted(set().union(*(part.channels for part in parts.values()))))
    digest = hashlib.sha256()
    series: dict[str, Series] = {}
    offsets: dict[str, dict[str, tuple[int, int]]] = {}
    for site, part in parts.items():
        digest.update(f"{site}\0{part.source.sha256}\0".encode())
        offsets |= {f"{site}/{name}": ranges for name, ranges in part.source.offsets.items()}
        for key, one in part.series.items():
            values = np.full((len(one), len(channels)), np.nan)
            values[:, [channels.index(channel) for channel in part.channels]] = one.values
            series[key] = Series(one.t, values, one.stretch)
    source = Dataset(offsets, digest.hexdigest(), sum(map(len, series.values())))
    return TrainingSet(asset_class, channels, series, source)
