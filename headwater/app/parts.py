"""Where the settings of each part are defined; imported only when asked for."""

from __future__ import annotations

import importlib

from pydantic import BaseModel

from headwater.contract.errors import BadInput

SETTINGS = {
    "edge": "edge_agent.settings:EdgeSettings",
    "replicator": "replicator.settings:ReplicatorSettings",
    "trainer": "cloud_trainer.settings:TrainerSettings",
    "fleet": "fleet.settings:FleetSettings",
}


def settings_model(part: str) -> type[BaseModel]:
    """The settings model of a part; BadInput for a part that does not exist."""
    if part not in SETTINGS:
        raise BadInput(f"there is no part {part!r} with settings", hint=f"parts: {', '.join(SETTINGS)}")
    module, _, name = SETTINGS[part].partition(":")
    model: type[BaseModel] = getattr(importlib.import_module(module), name)
    return model
