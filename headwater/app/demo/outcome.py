"""From what ran to what is told: counts every record again and lays it beside the promises."""

from __future__ import annotations

from headwater.app.demo import count, demands, promises, swaps
from headwater.app.demo.console import Steps
from headwater.app.demo.evidence import Asset, Episode, Evidence
from headwater.app.demo.labels import label_figures, labelled_spans
from headwater.app.demo.plan import START_MS
from headwater.app.demo.promises import exactly, told, zero
from headwater.app.demo.scenario import Scenario
from headwater.app.plant.simulator import Truth
from headwater.contract import topics
from headwater.contract.figures import Figure, figure
from headwater.contract.windows import Charge

ALARM_GOAL_S = 60.0
MEMORY_GOAL_MB = 220.0
MOST_TOLD = 3


def evidence(scenario: Scenario, steps: Steps) -> Evidence:
    """Read all topics of all clusters and count; takes a few seconds."""
    with steps.waiting("reading every topic of every cluster again, and counting"):
        sites = {site: _Site(scenario, site) for site in scenario.options.sites}
    found = Evidence(
        title=f"Headwater demo: {', '.join(sites)}" + (f", {scenario.options.data}" if scenario.options.data else ""),
        programs=dict(scenario.state.programs),
        episodes=[e for site in sites.values() for e in site.episodes],
        faults=_fault_spans(scenario),
        lag=scenario.watch.lag,
        kills=[(at - scenario.watch.since, what) for at, what in scenario.marks.killed_at],
        learned=scenario.marks.learned,
    )
    watched = {(machine.site, machine.asset) for machine in scenario.plan.machines}
    for name, site in sites.items():
        found.readings |= count.traces(name, site.edge[topics.READINGS], watched)
        found.scores |= count.score_traces(name, site.edge[topics.SCORES])
        found.swaps += site.swap_times()
    alarms = (
        label_figures(scenario, found.episodes) if scenario.plan.plant is None else _alarms(scenario, found.episodes)
    )
    scored = {asset for asset, trace in found.scores.items() if any(score is not None for score in trace.score)}
    found.figures = [*_transport(scenario, sites), *alarms, *_models(scenario, sites, scored)]
    if scenario.options.data:
        found.notes += scenario.plan.cuts
        found.notes.append("Labels were used for the counts of this table only; no model has seen them.")
    return found


class _Site:
    """The logs of one site, at the edge and as they arrived in the cloud."""

    def __init__(self, scenario: Scenario, site: str) -> None:
        self.name = site
        local, remote = scenario.state.clusters[site], scenario.state.clusters["cloud"]
        shipped = [topics.READINGS, topics.SCORES, topics.ALARMS]
        self.edge = count.read_topics(local, shipped)
        cloud = count.read_topics(remote, [topics.remote(site, topic) for topic in shipped])
        self.cloud = {topic: cloud[topics.remote(site, topic)] for topic in shipped}
        self.swaps = count.read_swaps(local)
        self.dead_letters = count.read_topics(local, [topics.DEAD_LETTERS])[topics.DEAD_LETTERS]
        published = {m.asset: counted for m, counted in scenario.feed.published().items() if m.site == site}
        self.transport = count.transport(published, self.edge[topics.READINGS])
        self.copied = count.copied(self.edge, self.cloud)
        self.judged = count.judged(self.edge[topics.READINGS], self.edge[topics.SCORES], self.swaps)
        status = count.newest_status(local, topics.STATUS, site)
        self.status_differs = status is None or status != count.newest_status(
            remote, topics.remote(site, topics.STATUS), site
        )
        seen = scenario.watch.seen
        alarms = count.read_alarms(self.cloud[topics.ALARMS])
        self.episodes = [Episode(a, seen.get((a.episode, a.state), a.raised_at / 1000)) for a in alarms]

    def charges(self) -> list[Charge]:
        """Every swap, once a partition."""
        return [charge for charges in self.swaps.values() for charge in charges]

    def slowest_swap_s(self, scenario: Scenario) -> float | None:
        """See `swaps.swap_s`."""
        written = sorted(r.timestamp_ms for records in self.edge[topics.READINGS].partitions.values() for r in records)
        return swaps.slowest_s(scenario.watch.placements.of(self.name), written)

    def swap_times(self) -> list[tuple[str, int, int]]:
        """Site, version and sensor time of each swap, where readings followed it."""
        found: dict[tuple[int, int], int] = {}
        for partition, charges in self.swaps.items():
            for one in count.arrivals(self.edge[topics.READINGS].partitions[partition]):
                for charge in charges:
                    if one.offset >= charge.since:
                        found.setdefault((charge.swapped_at, charge.version), one.reading.t)
        return [(self.name, version, t) for (_, version), t in sorted(found.items())]


def _transport(scenario: Scenario, sites: dict[str, _Site]) -> list[Figure]:
    persistent = scenario.state.mqtt.persistent_sessions
    feed = scenario.feed
    edge = [site.transport for site in sites.values()]
    copied = [site.copied for site in sites.values()]
    wrong = sum(t.wrong_digests for t in edge)
    return [
        told("demo.readings_published", sum(t.published for t in edge), "count"),
        zero("demo.readings_unpublished", demands.unpublished(scenario.plan.readings(feed.tick), feed.published())),
        exactly("demo.kills", scenario.marks.kills, 2),
        promises.from_broker("demo.readings_lost", sum(t.lost for t in edge), persistent=persistent),
        promises.from_broker("demo.readings_duplicated", sum(t.duplicated for t in edge), persistent=persistent),
        promises.from_broker("demo.edge_digests_wrong", wrong, persistent=persistent),
        zero("demo.replication_lost", sum(c.lost for c in copied)),
        zero("demo.replication_duplicated", sum(c.duplicated for c in copied)),
        zero("demo.cloud_digests_wrong", sum(c.wrong_digests for c in copied)),
        zero("demo.status_differs", sum(site.status_differs for site in sites.values())),
        demands.refused([site.dead_letters for site in sites.values()], scenario.marks.learned),
    ]


def _alarms(scenario: Scenario, episodes: list[Episode]) -> list[Figure]:
    truths = scenario.plan.plant.truths() if scenario.plan.plant else []
    opened = [episode for episode in episodes if episode.alarm.state == "opened"]
    false = [e for e in opened if not any(_is_of(e, truth) for truth in truths)]
    delays: list[tuple[float, float, float]] = []
    for truth in truths:
        hits = [e for e in opened if _is_of(e, truth)]
        if hits and truth.onset is not None and truth.visible is not None:
            begun = scenario.feed.published_at(truth.onset) or hits[0].seen_at
            t = hits[0].alarm.t
            delays.append(((t - truth.visible) / 1000, (t - truth.onset) / 1000, hits[0].seen_at - begun))
    slowest = [max(values) for values in zip(*delays, strict=True)] if delays else [None, None, None]
    return [
        told("demo.faults", len(truths), "count", ", ".join(sorted({truth.kind for truth in truths}))),
        exactly("demo.faults_found", len(delays), len(truths)),
        figure("demo.alarm_delay_s", slowest[0], "s", ALARM_GOAL_S),
        figure("demo.alarm_onset_s", slowest[1], "s", None),
        figure("demo.alarm_real_s", slowest[2], "s", None),
        zero("demo.false_alarms", len(false), "; ".join(_told(episode) for episode in false[:MOST_TOLD])),
    ]


def _models(scenario: Scenario, sites: dict[str, _Site], scored: set[Asset]) -> list[Figure]:
    marks = scenario.marks
    activated = {(s.name, c.version) for s in sites.values() for c in s.charges()}
    activated |= {(s.name, version) for s in sites.values() for version in s.judged.versions}
    bad = {(site, version) for site, version in activated if version in marks.refusals}
    refused = [has for must, has in marks.refusals.values() if has == must]
    judged = [site.judged for site in sites.values()]
    measured = [mb for mb in marks.memory_mb.values() if mb is not None]
    took_s = [took for site in sites.values() if (took := site.slowest_swap_s(scenario)) is not None]
    busy = len({machine.site for machine in scenario.plan.machines})
    never = demands.never_scored(scenario.feed.published(), marks.published_at_rollout, scored)
    return [
        exactly("demo.versions_activated", len(activated - bad), 2 * len(sites)),
        figure("demo.swap_s", max(took_s) if len(took_s) >= busy > 0 else None, "s", swaps.GOAL_S),
        exactly("demo.bad_models_refused", len(refused), 2, ", ".join(has for _, has in marks.refusals.values())),
        zero("demo.bad_models_activated", len(bad)),
        told("demo.windows", sum(j.windows for j in judged), "count"),
        zero("demo.windows_unscored", sum(j.unscored for j in judged)),
        zero("demo.machines_unscored", len(never), ", ".join(f"{m.site}/{m.asset}" for m in never[:MOST_TOLD])),
        zero("demo.windows_scored_twice", sum(j.twice for j in judged)),
        zero("demo.scores_wrong", sum(j.wrong for j in judged)),
        figure("demo.rollback_bytes", marks.rollback_bytes, "count", 0),
        figure("demo.edge_memory_mb", max(measured) if len(measured) == len(sites) else None, "MB", MEMORY_GOAL_MB),
    ]


def _told(episode: Episode) -> str:
    """Where and when an alarm was raised, and by which version: what one asks first of a false one."""
    alarm = episode.alarm
    when = (alarm.t - START_MS) / 1000
    return f"{alarm.site}/{alarm.asset} at {when:.0f} s by version {alarm.version}"


def _is_of(episode: Episode, truth: Truth) -> bool:
    """Whether an alarm is of this fault: the same machine, and not before it began."""
    alarm = episode.alarm
    same = (alarm.site, alarm.asset) == (truth.site, truth.asset)
    return same and truth.onset is not None and alarm.t >= truth.onset


def _fault_spans(scenario: Scenario) -> dict[Asset, list[tuple[int, int]]]:
    if scenario.plan.plant is None:
        return labelled_spans(scenario)
    end = scenario.feed.now_ms
    return {(t.site, t.asset): [(t.onset, end)] for t in scenario.plan.plant.truths() if t.onset is not None}
