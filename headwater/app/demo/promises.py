"""What the demo promises, figure by figure, computed from what was counted."""

from __future__ import annotations

from headwater.contract.figures import Figure, figure

TITLES = {
    "demo.readings_published": "Readings published by MQTT at QoS 1",
    "demo.readings_unpublished": "Readings of the plan that were not published",
    "demo.kills": "Bridges and replicators killed under load",
    "demo.readings_lost": "Readings missing at the edge",
    "demo.readings_duplicated": "Readings twice at the edge",
    "demo.edge_digests_wrong": "Assets whose payloads at the edge differ in a byte or in order",
    "demo.replication_lost": "Records missing in the cloud",
    "demo.replication_duplicated": "Records twice in the cloud",
    "demo.cloud_digests_wrong": "Assets whose payloads in the cloud differ from the edge's",
    "demo.status_differs": "Sites whose status in the cloud is not the edge's",
    "demo.readings_refused": "Good readings refused",
    "demo.faults": "Faults that began",
    "demo.faults_found": "Faults found by an alarm",
    "demo.alarm_delay_s": "Slowest alarm, in sensor time after its fault was visible",
    "demo.alarm_onset_s": "… in sensor time after the first faulty reading",
    "demo.alarm_real_s": "… in real time, first faulty reading to alarm in the cloud",
    "demo.false_alarms": "Alarms at healthy machines",
    "demo.versions_activated": "Swaps to a newly trained version (two a site)",
    "demo.swap_s": "Slowest swap, from verified file to first score",
    "demo.bad_models_refused": "Bad models refused with a reason",
    "demo.bad_models_activated": "Bad models activated",
    "demo.windows": "Windows that had to be scored",
    "demo.windows_unscored": "Windows not scored",
    "demo.machines_unscored": "Machines not scored",
    "demo.windows_scored_twice": "Windows scored twice",
    "demo.scores_wrong": "Scores of another window, version or model than they should be",
    "demo.rollback_bytes": "Bytes downloaded for the rollback",
    "demo.edge_memory_mb": "Memory of an edge's processes (proportional)",
    "demo.hits": "Recordings with a fault and an alarm in it",
    "demo.misses": "Recordings with a fault and no alarm in it",
    "demo.alarms_outside": "Alarms that opened outside of a labelled fault",
    "demo.f1": "F1 over labelled readings after training",
    "demo.f1_always": "… of an alarm that is always on",
    "demo.total_s": "The whole demo",
}
NOT_PROMISED = "needs an MQTT broker that keeps sessions: install mosquitto"


def from_broker(name: str, value: int, *, persistent: bool) -> Figure:
    """A count of zero that only a broker which keeps sessions allows to promise."""
    if persistent:
        return figure(name, value, "count", 0)
    return figure(name, None, "count", 0, note=NOT_PROMISED)


def zero(name: str, value: int, note: str = "") -> Figure:
    """A count that must be zero."""
    return figure(name, value, "count", 0, note=note)


def exactly(name: str, value: int, goal: int, note: str = "") -> Figure:
    """A count that must be reached; more than it cannot be counted."""
    return figure(name, value, "count", goal, better="higher", note=note)


def told(name: str, value: float, unit: str, note: str = "") -> Figure:
    """A figure without a goal."""
    return figure(name, value, unit, None, note=note)


def all_kept(figures: list[Figure]) -> bool:
    """Whether every line holds; lines that were not promised do not count, and a goal without a value is missed."""
    return all(one.met for one in figures if one.goal is not None and one.note != NOT_PROMISED)
