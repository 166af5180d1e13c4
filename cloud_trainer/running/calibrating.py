"""From the readings of all sites to a version with the scaling and threshold of each, for `headwater train sites`."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

import structlog

from cloud_trainer.datasets.checks import check
from cloud_trainer.datasets.collecting import training_set
from cloud_trainer.job import collected
from cloud_trainer.running.checking import Read, refusals
from cloud_trainer.running.runner import Kind, cores, open_runner
from cloud_trainer.running.site_folders import checked, collected_sites, merged
from cloud_trainer.running.sites import Sites, calibrate, numbered
from cloud_trainer.runs import Runs
from cloud_trainer.settings import TrainerSettings
from cloud_trainer.tracing.models import manifests
from headwater.contract.errors import BadInput
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, Manifest, decode_manifest, model_path
from headwater.contract.messages import RetrainRequest, TrainingRun
from headwater.transport.files import replace_durably
from headwater.transport.objects import open_store
from headwater.transport.registry.publisher import Publisher

_log = structlog.get_logger(__name__)


class Network(NamedTuple):
    """Both files of a version."""

    manifest: Manifest
    model: bytes


def from_files(folder: Path) -> Network:
    """The network that `headwater train run --out FOLDER` wrote; BadInput where it cannot be read."""
    try:
        return Network(decode_manifest((folder / MANIFEST_FILE).read_bytes()), (folder / MODEL_FILE).read_bytes())
    except OSError as error:
        raise BadInput(
            f"{error.filename or folder} cannot be read: {error.strerror}", hint="name a model's folder"
        ) from error


class Registry:
    """Published versions of a class."""

    def __init__(self, settings: TrainerSettings, asset_class: str) -> None:
        self._models = Publisher(open_store(settings.objects), settings.keys, "models")
        self.asset_class = asset_class

    def network(self, version: int | None) -> Network:
        """A version, the newest if None; BadInput where it is not published."""
        there = self._models.versions(self.asset_class)
        if not there or (version is not None and version not in there):
            which = f"version {version} of {self.asset_class}" if version else f"a version of {self.asset_class}"
            raise BadInput(f"{which} is not published", hint="train one first: headwater train run --help")
        wanted = version or max(there)
        return Network(self._manifest(wanted), self._models.read(model_path(self.asset_class, wanted, MODEL_FILE)))

    def of_request(self, request_id: str) -> Manifest | None:
        """The version that was published for this request, if that was done."""
        there = manifests(self._models, self.asset_class)
        return next((one for one in there if one.request_id == request_id), None)

    def publish(self, sites: Sites, model: bytes, request_id: str) -> Manifest:
        """Sign it as the next version; Conflict where another took its number meanwhile."""
        manifest = numbered(sites, max(self._models.versions(self.asset_class), default=0) + 1, request_id)
        files = {MODEL_FILE: model, MANIFEST_FILE: manifest.encode()}
        self._models.publish(
            {model_path(self.asset_class, manifest.version, name): data for name, data in files.items()}
        )
        return manifest

    def _manifest(self, version: int) -> Manifest:
        return decode_manifest(self._models.read(model_path(self.asset_class, version, MANIFEST_FILE)))


def readings(
    settings: TrainerSettings, request: RetrainRequest, folder: Path | None, channels: Collection[str]
) -> Read:
    """Of the cloud's topics, or of a folder with a folder for each site, checked for a network of these channels."""
    if folder is not None:
        sites = collected_sites(folder, request.asset_class)
        learn, report = merged(sites, request.asset_class), checked(sites, settings.recipe)
    else:
        found = collected(settings.kafka, request, settings.recipe, None)
        learn, report = training_set(found, settings.recipe), check(found, settings.recipe)
    return Read(learn, refusals(report, learn.series, channels))


def measured(
    settings: TrainerSettings,
    network: Network,
    read: Read,
    kind: Kind | None,
    tell: Callable[[int], None],
) -> Sites:
    """Scaling and thresholds on the runner of the settings, or the one named."""
    began, learn = time.monotonic(), read.learn
    count = min(settings.workers or cores(), len(learn.series) or 1)
    with open_runner(kind or settings.runner, count, settings.ray_address) as runner:
        sites = calibrate(network.manifest, network.model, learn, settings.recipe, runner, read.refused, tell=tell)
    took = round(time.monotonic() - began, 3)
    _log.info("assets measured", assets=len(learn.series), left_out=len(sites.left_out), seconds=took)
    return sites


def tell_of(settings: TrainerSettings, manifest: Manifest, seconds: float) -> None:
    """Write the outcome to training-runs and model-events, as a training does; once for each request."""
    runs = Runs(settings.kafka)
    runs.prepare()
    run = TrainingRun(
        manifest.request_id,
        manifest.asset_class,
        "published",
        int(time.time() * 1000),
        version=manifest.version,
        sha256=manifest.sha256,
        dataset_sha256=manifest.dataset.sha256,
        records=manifest.dataset.records,
        seconds=round(seconds, 3),
    )
    runs.announce(run)
    runs.write(run)


def write(sites: Sites, network: Network, version: int, request_id: str, out: Path | None) -> Manifest:
    """The manifest of a version; both files go into the folder `out`, the manifest last, unless that is None."""
    manifest = numbered(sites, version, request_id)
    if out is not None:
        replace_durably(out / MODEL_FILE, network.model)
        replace_durably(out / MANIFEST_FILE, manifest.encode())
    return manifest
