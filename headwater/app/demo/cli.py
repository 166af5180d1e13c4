"""`headwater demo`."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from shlex import quote

import typer

from headwater import __version__
from headwater.app.demo import outcome, promises, report
from headwater.app.demo.console import Steps
from headwater.app.demo.evidence import Evidence
from headwater.app.demo.interrupt import answer_at_once
from headwater.app.demo.machine import machine
from headwater.app.demo.plan import LEAST_SPEED, MOST_SPEED, Options, check_sites, plan
from headwater.app.demo.plots import all_plots
from headwater.app.demo.scenario import Scenario
from headwater.app.stack.runner import FULL_BELOW_BYTES, check_room
from headwater.contract.canonical import canonical_json
from headwater.contract.errors import BadInput, HeadwaterError, Permanent, Refused
from headwater.contract.figures import figure
from headwater.transport import logs
from headwater.transport.files import file_error

app = typer.Typer(rich_markup_mode=None, add_completion=False)
TOTAL_GOAL_S = 120.0
REPORT_BYTES = 8 << 20  # room that a report needs, generously
Pictures = list[tuple[str, str, str]]  # title, sentence, SVG


@app.command()
def demo(
    data: Path = typer.Option(None, help="Folder of recordings (CSV as in SKAB) instead of simulated pumps."),
    sites: str = typer.Option("lyon,osaka", help="Names of the plants, two or more."),
    seed: int = typer.Option(1, min=0, help="Seed of the simulated plants."),
    keep: bool = typer.Option(False, "--keep", help="Leave the services running and print their addresses."),
    speed: float = typer.Option(
        None,
        min=LEAST_SPEED,
        max=MOST_SPEED,
        help="Rows that are replayed of each recording a second.",
        show_default="40",
    ),
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
    names, report_to = check_sites(sites), _writable(report_to)
    answer_at_once()
    options = Options(names, seed, data, keep, _folder(home), report_to, mosquitto, speed=speed)
    found, pictures, scenario = _run(options, steps)
    if as_json:
        print(canonical_json(_object(found, seed)).decode(), flush=True)
    try:
        report.write(found, pictures, promises.TITLES, report_to)
        steps.say(f"report written to {report_to}")
    finally:  # whatever became of the report
        if keep:
            _say_what_next(scenario, steps)
    raise typer.Exit(0 if promises.all_kept(found.figures) else 6)


def _folder(home: Path | None) -> Path:
    """An empty folder with room for the run; Refused for one that holds anything, since it is removed at the end."""
    made = home is None or not home.exists()
    try:
        if home is None:
            home = Path(tempfile.mkdtemp(prefix="headwater-demo-"))
        elif not made and (not home.is_dir() or any(home.iterdir())):
            raise Refused(f"{home} is not an empty folder", hint="name one that is empty, or that does not exist yet")
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise file_error(error, home or Path(tempfile.gettempdir())) from error
    try:
        check_room(home)
    except Permanent:
        if made:
            home.rmdir()
        raise
    return home.absolute()


def _writable(report_to: Path) -> Path:
    """Where the report goes, tried before the run rather than after it: a file, permission and room."""
    if report_to.is_dir():
        raise BadInput(f"--report {report_to} is a folder", hint=f"name a file: {report_to / 'demo-report.html'}")
    if report_to.exists() and not report_to.is_file():
        raise BadInput(f"--report {report_to} is no file", hint="name one, such as demo-report.html")
    trial = report_to.with_name(f".{report_to.name}.try")
    try:
        try:
            with trial.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, REPORT_BYTES)
        finally:
            trial.unlink(missing_ok=True)
    except OSError as error:
        raise file_error(error, report_to) from error
    return report_to


def _run(options: Options, steps: Steps) -> tuple[Evidence, Pictures, Scenario]:
    started, begun = time.monotonic(), datetime.now().astimezone()
    scenario: Scenario | None = None
    done = False
    try:
        scenario = Scenario(options, plan(options), steps)
        for line in scenario.plan.cuts:
            steps.say(line)
        scenario.run()
        found = outcome.evidence(scenario, steps)
        done = True
    except (HeadwaterError, OSError) as error:
        _keep_logs(options.home, steps, error)
        check_room(options.home, least_bytes=FULL_BELOW_BYTES)  # then that is the cause, whatever it broke first
        if isinstance(error, OSError):
            raise file_error(error, Path(error.filename or options.home)) from error
        raise
    finally:
        if not (done and options.keep):
            if scenario is not None:
                scenario.close()
            shutil.rmtree(options.home, ignore_errors=True)
    pictures = all_plots(found)
    found.about = _about(scenario, begun)
    goal = TOTAL_GOAL_S if options.speed is None else None  # promised at the speed that we chose
    found.figures.append(figure("demo.total_s", time.monotonic() - started, "s", goal))
    for name, version in found.programs.items():
        steps.print(f"  {name}: {version}")
    steps.table(found.figures, promises.TITLES)
    for note in found.notes:
        steps.print(note)
    return found, pictures, scenario


def _about(scenario: Scenario, begun: datetime) -> dict[str, str]:
    """What the report says first."""
    options, plan_, machines = scenario.options, scenario.plan, len(scenario.plan.machines)
    return {
        "date": f"{begun:%Y-%m-%d %H:%M %Z}",
        "seed": "none; recordings are replayed as they are" if options.data else str(options.seed),
        "speed-up": f"{plan_.speed:.0f} times real time, where a row is a second",
        "load": f"{machines} machines, up to {machines * plan_.speed:,.0f} readings a second",
    }


def _keep_logs(home: Path, steps: Steps, error: HeadwaterError | OSError) -> None:
    """Copy the logs out of the folder that is about to be removed, if there is room; the hint names them there."""
    logs_of_run = {"": home / "logs", "stack": home / "stack" / "logs"}
    there = {name: folder for name, folder in logs_of_run.items() if folder.is_dir()}
    if not there:
        return
    try:
        kept = Path(tempfile.mkdtemp(prefix="headwater-demo-logs-"))
        for name, folder in there.items():
            shutil.copytree(folder, kept / name, dirs_exist_ok=True)
    except OSError as refused:
        steps.say(f"the logs of the processes cannot be kept: {refused}")
        return
    steps.say(f"the logs of every process are kept in {kept}")
    if isinstance(error, HeadwaterError):
        for name, folder in there.items():
            error.hint = error.hint.replace(str(folder), str(kept / name))


def _say_what_next(scenario: Scenario, steps: Steps) -> None:
    state, folder = scenario.state, scenario.folder
    steps.print("\nStill running (edge agents, replicators and the trainer have stopped):")
    for name, address in state.clusters.items():
        steps.print(f"  Kafka {name}: {address}")
    steps.print(f"  MQTT: {state.mqtt.host}:{state.mqtt.port}\n  S3: {state.s3.endpoint}")
    steps.print("\nTry next:")
    for line in _next_commands(folder, scenario.options.sites[0]):
        steps.print(f"  {line}")


def _next_commands(folder: Path, site: str) -> list[str]:
    """Lines for a shell, as they are."""
    program = Path(sys.argv[0])
    run = quote(str(program)) if program.name == "headwater" else f"{quote(sys.executable)} -m headwater"
    cloud, edge = quote(str(folder / "cloud.toml")), quote(str(folder / f"{site}.toml"))
    home, stack = quote(str(folder / "home")), quote(str(folder / "stack"))
    return [
        *(f"HEADWATER_CONFIG={cloud} {run} {c}" for c in ("fleet rollout status", "train jobs", "doctor fleet")),
        f"HEADWATER_HOME={home} HEADWATER_CONFIG={edge} {run} edge run      # until Ctrl-C",
        f"{run} stack down --home {stack} && rm -r {quote(str(folder))}",
    ]


def _object(found: Evidence, seed: int) -> dict[str, object]:
    return {"figures": found.figures, "machine": machine(), "seed": seed, "programs": found.programs, "v": __version__}
