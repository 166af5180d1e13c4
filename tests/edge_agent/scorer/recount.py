"""Recomputing from the edge's topics alone what the scorer must have written, bit for bit."""

from __future__ import annotations

from collections import Counter

import numpy as np

from edge_agent.scorer.models import Loaded
from edge_agent.scorer.scoring import episode_id
from headwater.contract import headers, topics
from headwater.contract.alarm import AlarmState, step
from headwater.contract.features import vector
from headwater.contract.messages import Alarm, Score, decode
from headwater.contract.windows import expected
from tests.edge_agent.scorer.edge import PARTITIONS, SITE, Edge


async def check_all(edge: Edge, loaded: dict[int, Loaded]) -> Counter[int]:
    """Scores and alarms are exactly those that the readings and the swap records demand; scores by version."""
    seen: Counter[int] = Counter()
    for partition in range(PARTITIONS):
        seen += await _check(edge, partition, loaded)
    return seen


async def _check(edge: Edge, partition: int, loaded: dict[int, Loaded]) -> Counter[int]:
    must_score: list[tuple[str, int, int, int, float]] = []
    must_alarm: list[tuple[int, str, str, str, float]] = []
    states: dict[str, AlarmState] = {}
    for due in expected(await edge.arrivals(partition), await edge.swaps(partition)):
        version = loaded[due.charge.version]
        manifest = version.manifest
        one = vector(manifest.features.scaling_of(f"{SITE}/{due.asset}"), due.window.values)
        score = float(version.model.score(np.array([one]))[0][0])
        must_score.append((due.asset, due.window.first_offset, due.window.last_offset, manifest.version, score))
        state = states.get(due.asset, AlarmState())
        name = episode_id(SITE, due.asset, due.window.last_offset)
        states[due.asset], transition = step(manifest.alarm, state, score, manifest.threshold_of(""), name)
        if transition is not None:
            alarm = (due.window.last_offset, due.asset, transition.episode, transition.kind, transition.peak)
            must_alarm.append(alarm)
    scores = []
    for record in await edge.all(topics.SCORES, partition):
        told = decode(record.value, Score)
        first = headers.find_number(record.headers, headers.FIRST_OFFSET)
        last = headers.find_number(record.headers, headers.SOURCE_OFFSET)
        assert first is not None
        assert last is not None
        scores.append((told.asset, first, last, told.version, told.score))
        assert headers.find_text(record.headers, headers.MODEL) == loaded[told.version].manifest.sha256
    assert scores == must_score
    alarms = []
    for record in await edge.all(topics.ALARMS, partition):
        raised = decode(record.value, Alarm)
        source = headers.find_number(record.headers, headers.SOURCE_OFFSET)
        alarms.append((source, raised.asset, raised.episode, raised.state, raised.peak))
    assert alarms == must_alarm
    return Counter(score[3] for score in scores)
