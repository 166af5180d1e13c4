"""The goals of the trainer on the simulated plant: every fault found soon, no alarm on a healthy pump."""

from __future__ import annotations

import pytest

from headwater.app.plant.simulator import FAULT_KINDS
from tests.cloud_trainer.plant import campaign

LATEST_S = 60.0


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_faults_are_found_and_healthy_pumps_stay_silent(seed: int) -> None:
    """Three faults of each kind are found within 60 s of being visible; 12 pumps are silent for 1,800 s before."""
    outcome = campaign(seed)
    print(f"seed {seed}: delays by kind, s: {outcome.delays}")
    assert outcome.false_alarms == 0
    assert outcome.missed == []
    assert set(outcome.delays) == set(FAULT_KINDS)
    assert max(delay for found in outcome.delays.values() for delay in found) <= LATEST_S
