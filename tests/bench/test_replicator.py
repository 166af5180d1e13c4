"""The replicator benchmark: what it prints, and when it refuses to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
import typer
from typer.testing import CliRunner

from bench.replicator import mirror, runs
from bench.replicator.__main__ import main
from bench.replicator.cases import BY_NAME, CASES, USUAL, Case, load
from bench.replicator.clusters import Bed, open_bed
from bench.replicator.runs import Run, copy
from bench.replicator.systems import LOOP, OURS, STOCK, TUNED, Loop, Ours, Start
from bench.replicator.verdict import Results, figures, rows
from headwater.app.stack.jars import locked_jars
from headwater.transport.kafka_batch import Cluster
from tests.services import demand

GOOD = Run(OURS, "1k", 1000, "", per_cpu_s=1_000_000.0, per_s=200_000.0, first_s=1.0, peak_mb=50.0)
SMALL = Case("1k_zstd", 600, 1000, "zstd")
OTHER = Case("100b", 600, 100)


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    """Both clusters of the benchmark itself, with the small topic loaded."""
    with ExitStack() as stack:
        found = demand(lambda: stack.enter_context(open_bed(print)))
        asyncio.run(_load(found))
        yield found


async def _load(bed: Bed) -> None:
    async with Cluster(bed.source.settings(tls=False), client_id="bench") as cluster:
        await load(cluster, SMALL)
        await load(cluster, OTHER)


def test_each_figure_of_the_issue_is_there_and_refused_without_runs() -> None:
    """Nothing is promised that was not measured."""
    found = {each.name: each for each in figures(Results())}
    assert len([each for each in found.values() if each.goal is not None]) == 10
    assert all(each.value is None and not each.met for each in found.values())


@pytest.mark.parametrize("given", [("--cases", "nope"), ("--systems", "nope,headwater"), ("--cases", ",")])
def test_a_name_that_is_none_is_answered_with_the_names(given: tuple[str, str]) -> None:
    """Before anything is started."""
    app = typer.Typer()
    app.command()(main)
    done = CliRunner().invoke(app, given, env={"COLUMNS": "400"})
    assert done.exit_code == 2
    assert ("1k_zstd" if given[0] == "--cases" else "mm2 tuned") in done.stderr


def test_a_ratio_is_that_of_the_medians_and_refused_for_a_false_copy() -> None:
    """Our records a CPU-second over the other's; a copy that is none takes its figure away."""
    results = Results()
    for ours, theirs in ((1_000_000.0, 100_000.0), (2_000_000.0, 400_000.0), (3_000_000.0, 150_000.0)):
        results.keep(replace(GOOD, per_cpu_s=ours))
        results.keep(replace(GOOD, system=TUNED, per_cpu_s=theirs))
        results.keep(replace(GOOD, system=LOOP, per_cpu_s=250_000.0))
    found = {each.name: each for each in figures(results)}
    ratio = found["replicator.cpu_vs_mm2_1k"]
    assert (ratio.value, ratio.spread, ratio.met) == (13.333, (5.0, 20.0), True), "the rounds' median is 10"
    assert found["replicator.rss_mb"].value == 50.0
    assert len(rows(results)) == 3
    results.keep(replace(GOOD, system=TUNED, fault="mm2 tuned changed 1k"))
    spoilt = {each.name: each for each in figures(results)}["replicator.cpu_vs_mm2_1k"]
    assert spoilt.value is None
    assert "changed 1k" in spoilt.note
    assert results.faults == ["mm2 tuned changed 1k"]


def test_the_grid_has_every_combination_once() -> None:
    """Two sizes, three codecs, three shapes of batches, one and four partitions; the usual ones are among them."""
    shapes = {(case.size, case.codec, case.batch, case.partitions) for case in CASES if not case.tls}
    assert len(shapes) == 36
    assert len({case.name for case in CASES}) == len(CASES)
    assert set(USUAL) <= set(BY_NAME)


def test_mirrormakers_jars_are_locked_beside_kafkas() -> None:
    """Its jars are those of the same Kafka, none twice."""
    text = (runs._ROOT / "bench" / "replicator" / "mirror-jars.txt").read_text()
    found = [(jar.group, jar.artefact) for jar in locked_jars(text)]
    assert len(found) == len(set(found))
    assert ("org.apache.kafka", "connect-mirror") in found


@pytest.mark.parametrize("tls", [False, True])
def test_ours_and_the_loop_make_true_copies(bed: Bed, tls: bool) -> None:
    """Both copy a topic between the clusters of the benchmark, and the digests are equal."""
    case = replace(SMALL, name=SMALL.name + ("_tls" if tls else ""), tls=tls)
    for system in (Ours(), Loop()):
        run = copy(bed, system, case)
        assert not run.fault
        assert run.records == 600
        assert run.per_cpu_s > 0
        assert run.peak_mb > 20


class Wrong(Loop):
    """Copies another topic, of as many records."""

    def start(self, bed: Bed, case: Case, topic: str, *, pattern: str = "", paced: bool = False) -> Start:
        return super().start(bed, case, OTHER.topic, pattern=pattern, paced=paced)


def test_a_false_copy_is_seen(bed: Bed) -> None:
    """Records that are others at the target make a fault, and no figures."""
    run = copy(bed, Wrong(), SMALL)
    assert run.fault == "loop changed 1k_zstd: the digests of partitions [0, 1, 2, 3] differ"
    assert not run.per_cpu_s


def test_mirrormaker_is_tuned_as_its_users_are_told(bed: Bed) -> None:
    """Stock is the distribution's; tuned has Strimzi's batches, a task a partition and the codec of the source."""
    stock = mirror.properties(bed, SMALL, "edge", SMALL.topic, tuned=False)
    tuned = mirror.properties(bed, SMALL, "edge", SMALL.topic, tuned=True)
    assert "batch.size" not in stock
    assert "cloud.producer.batch.size = 327680" in tuned
    assert "cloud.producer.compression.type = zstd" in tuned
    assert "tasks.max = 4" in tuned
    assert STOCK != TUNED
