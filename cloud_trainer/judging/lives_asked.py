"""What the command line names, where it is lives that are judged."""

from __future__ import annotations

import msgspec
import numpy as np

from cloud_trainer.datasets import building, sessions
from cloud_trainer.datasets.collecting import Collected
from cloud_trainer.judging import lives as judging
from cloud_trainer.judging.asked import Range
from cloud_trainer.judging.compare import Compared
from cloud_trainer.life.lives import Lives, lives
from cloud_trainer.settings import TrainerSettings
from cloud_trainer.tracing.models import Model
from headwater.contract import topics
from headwater.contract.errors import BadInput
from headwater.transport.objects import open_store


def is_asked(*models: Model) -> bool:
    """Whether any of these says what remains of a life."""
    return any(model.manifest.life is not msgspec.UNSET for model in models)


def judged(settings: TrainerSettings, champion: Model, challenger: Model, where: Range) -> Compared:
    """Both on the lives of this range that ended with a failure; BadInput where one knows nothing of lives."""
    given = readings(settings, where, champion, challenger)
    return Compared(judging.compare(champion, challenger, given), np.zeros(0))


def readings(settings: TrainerSettings, where: Range, *models: Model) -> Lives:
    """The lives of a range, by default of what the last of these models was trained on."""
    for model in models:
        judging.parts_of(model)
    if where.behind:
        raise BadInput("--behind leaves out rows, and a life is whole", hint="name a folder of other lives")
    is_lifelong = any(judging.parts_of(model)[0].is_lifelong for model in models)
    found = _collected(settings, models[-1], where)
    return lives(found, judging.settings_of(*models), is_lifelong=is_lifelong, present=0.0)


def _collected(settings: TrainerSettings, model: Model, where: Range) -> Collected:
    asset_class, recipe = model.manifest.asset_class, settings.recipe
    if where.folder is not None:
        return building.from_recordings(where.folder, asset_class, where.site)
    if where.dataset is not None:
        ranges, digest = sessions.asked_for(settings, asset_class, None, where.dataset)
        if ranges is None and digest is not None:
            return building.from_store(open_store(settings.objects), digest, asset_class, recipe)
        found = building.from_kafka(settings.kafka, asset_class, ranges, recipe)
        building.expect_digest(found, digest)
        return found
    learned = model.manifest.dataset.offsets
    offsets = (
        where.offsets
        if where.offsets is not None
        else {topic: parts for topic, parts in learned.items() if topics.READINGS in topic.split(".")}
    )
    if not offsets:
        raise BadInput(
            f"{model.name} was not trained on topics: nothing says which lives to look at",
            hint="name their recordings with --folder, or ranges with --offsets",
        )
    return building.from_kafka(settings.kafka, asset_class, offsets, recipe)
