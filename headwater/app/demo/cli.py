"""`headwater demo`."""

from __future__ import annotations

import platform
import shutil
import tempfile
import time
from pathlib import Path

import typer

from headwater import __version__
from headwater.app.demo import outcome, promises, report
from headwater.app.demo.console import Steps
from headwater.app.demo.evidence import Evidence
from headwater.app.demo.plan import Options, check_sites, plan
from headwater.app.demo.scenario import Scenario
from headwater.contract.canonical import canonical_json
from headwater.contract.figures import figure
from headwater.transport import logs

app = typer.Typer(rich_markup_mode=None)
TOTAL_GOAL_S = 120.0


@app.command()
def demo(
    data: Path = typer.Option(None, help="Folder of recordings (CSV as in SKAB) instead of simulated pumps."),
    sites: str = typer.Option("lyon,osaka", help="Names of the plants, two or more."),
    seed: int = typer.Option(1, min=0, help="Seed of the simulated plants."),
    keep: bool = typer.Option(False, "--keep", help="Leave everything running and print the addresses."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object; the steps go to standard error."),
    report_to: Path = typer.Option(Path("demo-report.html"), "--report", help="Where the HTML report is written."),
    mosquitto: str = typer.Option(None, help="Program to use as MQTT broker; '' pretends that there is none."),
    home: Path = typer.Option(None, help="Folder for everything that runs; a temporary one when left out."),
) -> None:
    """Run the whole loop on this machine with real Kafka, MQTT and S3 servers, and count what was promised.

    Machines publish, edges bridge and score, a replicator ships to the cloud, two models are trained and rolled out
    in waves, two bad ones are refused, one site is rolled back; a bridge and a replicator are killed on the way.
    Exit code 0 only if every line of the table holds.

    Example:  headwater demo --seed 7 --report /tmp/report.html
    """
    logs.configure()
    steps = Steps(quiet=as_json)
    folder = home or Path(tempfile.mkdtemp(prefix="headwater-demo-"))
    try:
        found = _run(Options(check_sites(sites), seed, data, keep, folder, report_to, mosquitto), steps)
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        print(canonical_json(_object(found, seed)).decode())
    kept = promises.all_kept(found.figures)
    raise typer.Exit(0 if kept else 6)


def _run(options: Options, steps: Steps) -> Evidence:
    started = time.monotonic()
    scenario = Scenario(options, plan(options), steps)
    try:
        scenario.run()
        found = outcome.evidence(scenario, steps)
    finally:
        if not options.keep:
            scenario.close()
    found.figures.append(figure("demo.total_s", time.monotonic() - started, "s", TOTAL_GOAL_S))
    report.write(found, promises.TITLES, options.report)
    steps.say(f"report written to {options.report}")
    for name, version in found.programs.items():
        steps.print(f"  {name}: {version}")
    steps.table(found.figures, promises.TITLES)
    for note in found.notes:
        steps.print(note)
    if options.keep:
        _say_what_next(scenario, steps)
    return found


def _say_what_next(scenario: Scenario, steps: Steps) -> None:
    state = scenario.state
    steps.print("\nStill running:")
    for name, address in state.clusters.items():
        steps.print(f"  Kafka {name}: {address}")
    steps.print(f"  MQTT: {state.mqtt.host}:{state.mqtt.port}\n  S3: {state.s3.endpoint}")
    steps.print("\nTry next:")
    config = scenario.folder / "cloud.toml"
    for command in ("fleet rollout status", "train jobs", "doctor"):
        steps.print(f"  HEADWATER_CONFIG={config} headwater {command}")
    steps.print(f"  headwater stack down --home {scenario.folder / 'stack'}")


def _object(found: Evidence, seed: int) -> dict[str, object]:
    machine = {"python": platform.python_version(), "system": platform.platform(), "processor": platform.machine()}
    return {"figures": found.figures, "machine": machine, "seed": seed, "programs": found.programs, "v": __version__}
