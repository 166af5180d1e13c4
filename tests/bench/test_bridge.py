"""The bridge benchmark: what it prints, and when it refuses to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from bench.bridge import load, telegraf, verdict
from bench.bridge.bed import Bed, open_bed
from bench.bridge.runs import BROKER, Run, broker_alone, drain, pace
from bench.bridge.systems import TOPICS, Ours, Stock
from bench.bridge.verdict import Results
from bench.figures import NONE
from headwater.contract.errors import BadInput
from tests.services import demand

NAMES = [
    "bridge.cpu_vs_stock",
    "bridge.cpu_vs_telegraf",
    "bridge.rate_vs_broker",
    "bridge.p99_ms",
    "bridge.cpu_at_1000_vs_telegraf",
    "bridge.rss_mb",
    "bridge.backlog_rss_growth_mb",
    "bridge.backlog_batch_kb",
]
GOOD = Run(
    "headwater", 1000, 0, 0, "", 90.0, cpu_us=2.0, peak_mb=50.0, growth_mb=3.0, batch_kb=70.0, p50_ms=2.0, p99_ms=5.0
)


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    """Kafka and Mosquitto of the benchmark itself."""
    with ExitStack() as stack:
        yield demand(lambda: stack.enter_context(open_bed(TOPICS, print)))


def results(**changed: Run) -> Results:
    """Two rounds of everybody, all good but what is given."""
    runs = {
        "headwater": GOOD,
        "stock": replace(GOOD, system="stock", cpu_us=40.0),
        "telegraf": replace(GOOD, system="telegraf", cpu_us=16.0),
        BROKER: replace(GOOD, system=BROKER, rate=100.0),
    } | changed
    found = Results(backlogs=[replace(runs["headwater"], sent=verdict.BACKLOG)])
    found.drains = {name: [run, run] for name, run in runs.items()}
    found.paces = {name: [run, run] for name, run in runs.items() if name != BROKER}
    return found


def values(found: Results) -> dict[str, float | None]:
    """Name and value of each figure."""
    return {each.name: each.value for each in verdict.figures(found)}


def test_figures_of_good_runs() -> None:
    """Every figure has its name, its value as other over ours, and its verdict."""
    shown = verdict.figures(results())
    assert [each.name for each in shown] == NAMES
    assert [each.value for each in shown] == [20.0, 8.0, 0.9, 5.0, 8.0, 50.0, 3.0, 70.0]
    assert all(each.met for each in shown)
    assert [each.name for each in shown if each.spread is None] == NAMES[-2:], "one backlog has no spread"


def test_what_was_not_measured_is_no_number() -> None:
    """The broker alone has no peak of memory, and one run has no spread."""
    one, many = verdict.rows({BROKER: [replace(GOOD, peak_mb=0.0)], "headwater": [GOOD, GOOD]}, paced=False)
    assert one[4:6] == [NONE, NONE]
    assert many[4:6] == ["2.00 … 2.00", "50"]


@pytest.mark.parametrize("guilty", ["headwater", "stock"])
def test_a_fault_refuses_the_ratio(guilty: str) -> None:
    """A run that lost something gives no ratio to anybody it is compared with, and says why."""
    bad = replace(GOOD, system=guilty, fault=f"1 of 1000 readings of {guilty} did not arrive")
    found = results(**{guilty: bad})
    (ratio,) = (each for each in verdict.figures(found) if each.name == "bridge.cpu_vs_stock")
    assert ratio.value is None
    assert not ratio.met
    assert ratio.note == f"refused: 1 of 1000 readings of {guilty} did not arrive"
    assert (values(found)["bridge.cpu_vs_telegraf"] is None) == (guilty == "headwater")
    assert found.faults()


def test_without_telegraf_the_reason_is_printed() -> None:
    """Where Telegraf cannot be built, its figures have no value, the reason, and nothing is at fault."""
    found = results()
    del found.drains["telegraf"], found.paces["telegraf"]
    found.skipped["telegraf"] = "Go is not installed"
    by_name = {each.name: each for each in verdict.figures(found)}
    for name in ("bridge.cpu_vs_telegraf", "bridge.cpu_at_1000_vs_telegraf"):
        assert by_name[name].value is None
        assert by_name[name].note == "skipped: Go is not installed"
    assert by_name["bridge.cpu_vs_stock"].value == 20.0
    assert not found.faults()


def test_telegraf_needs_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Go, or with a Go that fails, building Telegraf says so in words."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(BadInput, match="Go is not installed"):
        telegraf.build(print, go="")
    broken = tmp_path / "go"
    broken.write_text("#!/bin/sh\necho 'no module proxy' >&2\nexit 1\n")
    broken.chmod(0o700)
    with pytest.raises(BadInput, match="no module proxy"):
        telegraf.build(print, go=str(broken))


def test_readings_are_of_one_size() -> None:
    """A reading is JSON of 200 bytes that tells its number and when it was sent."""
    for number in (0, 996, 999_999):
        content = load.payload(number, 1_763_718_300_000_123)
        assert len(content) == load.PAYLOAD_BYTES
        assert json.loads(content)["t"] == 1_763_718_300_000
        assert load.number_of(content) == number
        assert load.sent_us_of(content) == 1_763_718_300_000_123
    with pytest.raises(ValueError, match="short"):
        load.number_of(b"short")


def test_every_system_does_its_work(bed: Bed) -> None:
    """Ours, the careful script and the sink take the same load whole, with CPU, rate, memory and latency counted."""
    for system in (Ours(), Stock()):
        run = drain(bed, system, 3000)
        assert (run.fault, run.lost) == ("", 0)
        assert run.rate > 0
        assert run.cpu_us > 0
        assert 10 < run.peak_mb < 1000
    alone = broker_alone(bed, 3000)
    assert (alone.fault, alone.lost) == ("", 0)
    paced = pace(bed, Ours(), 500, 1.0)
    assert paced.fault == ""
    assert 0 < paced.p50_ms <= paced.p99_ms


def test_a_lost_message_is_noticed(bed: Bed) -> None:
    """A system that acknowledges one reading and does not write it gets no ratio."""
    run = drain(bed, Stock(drop=1234), 3000, patience_s=3.0)
    assert run.lost == 1
    assert run.fault == "1 of 3000 readings of stock did not arrive"
    assert values(results(stock=run))["bridge.cpu_vs_stock"] is None


def test_the_command_shows_its_options() -> None:
    """`python -m bench.bridge --help` tells every option without starting anything."""
    done = subprocess.run([sys.executable, "-m", "bench.bridge", "--help"], capture_output=True, text=True, check=True)
    for option in ("--quick", "--json", "--runs", "--messages", "--profile", "--cprofile"):
        assert option in done.stdout
    assert "goals that are missed do not change the exit code" in " ".join(done.stdout.split())
