"""Recordings of many sites: each folder in a folder is a site, and holds its recordings."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cloud_trainer.datasets.building import from_recordings
from cloud_trainer.datasets.checks import Report, examine
from cloud_trainer.datasets.collecting import Collected, training_set
from cloud_trainer.datasets.columns import table
from cloud_trainer.recipe import Recipe
from cloud_trainer.series import Series, TrainingSet
from headwater.contract.errors import BadInput
from headwater.contract.manifest import Dataset
from headwater.contract.names import check_site


def collected_sites(folder: Path, asset_class: str) -> dict[str, Collected]:
    """`folder/lyon/*.csv` are assets of the site `lyon`; BadInput as `recordings` raises it, and where no site is."""
    sites = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not sites:
        raise BadInput(f"{folder} has no folder of a site", hint="lay it out as FOLDER/lyon/pump-1.csv")
    return {check_site(path.name): from_recordings(path, asset_class, path.name) for path in sites}


def checked(sites: Mapping[str, Collected], recipe: Recipe) -> Report:
    """All data checks on the readings of all sites together."""
    channels = tuple(sorted(set().union(*(one.channels for one in sites.values()))))
    tables = {key: table(of, channels) for one in sites.values() for key, of in sorted(one.columns.items())}
    labels = {key: mask for one in sites.values() for key, mask in one.labels.items()}
    return examine(tables, channels, labels, recipe)


def merged(sites: Mapping[str, Collected], asset_class: str) -> TrainingSet:
    """The readings of all sites as one set; every row is taken to be healthy.

    The digest runs over the name of each site and the digest of its folder.
    """
    parts = {site: training_set(one, Recipe()) for site, one in sites.items()}
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
