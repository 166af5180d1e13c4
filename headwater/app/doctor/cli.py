"""`headwater doctor`."""

from __future__ import annotations

import json

import typer

from headwater.app.doctor.bridge import check_bridge
from headwater.app.doctor.finding import Finding, failed, warning
from headwater.app.doctor.installation import check_disk, check_installation
from headwater.app.doctor.routes import check_routes
from headwater.app.doctor.services import check_wire, wires
from headwater.app.doctor.trust import check_trust
from headwater.app.parts import SETTINGS, settings_model
from headwater.contract.errors import BadSetting, HeadwaterError
from headwater.transport import logs
from headwater.transport.settings import DEFAULT_FILE, is_configured, load

app = typer.Typer(rich_markup_mode=None, add_completion=False)
SIGNS = {"good": "ok  ", "warning": "warn", "bad": "FAIL"}
_CONFIGURE = f"set HEADWATER_EDGE__SITE or the like, or write {DEFAULT_FILE}; or try `headwater demo`"
PARTS_HELP = f"Parts to check: {', '.join(SETTINGS)}. All configured ones if none."


@app.command()
def doctor(
    parts: list[str] = typer.Argument(None, help=PARTS_HELP),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Check the installation and each configured service; say in words what is wrong and what to do.

    Asks each service for its version and its clock, and each topic for settings that break a promise. Writes a
    record to the topic `headwater-doctor`, publishes some messages below the MQTT topic of that name, keeps an MQTT
    session for a minute, and (for parts that publish) writes small objects below `probe/`, by racing writers too.
    Exit code 0 when nothing is broken.

    Example:  headwater doctor edge
    """
    logs.configure(quiet=True)  # the findings say all of it
    findings = check_installation()
    if not parts and not any(map(is_configured, SETTINGS)):
        findings.append(warning("settings", "nothing is configured, so no service was asked", _CONFIGURE))
    for part in parts or list(SETTINGS):
        findings += _part(part, asked=bool(parts))
    if as_json:
        typer.echo(json.dumps({"findings": [finding.plain() for finding in findings]}, indent=2))
    else:
        _print(findings)
    broken = [finding for finding in findings if finding.state == "bad"]
    raise typer.Exit(broken[0].exit_code if broken else 0)


def _part(part: str, *, asked: bool) -> list[Finding]:
    model = settings_model(part)
    if not asked and not is_configured(part):
        return []
    try:
        settings = load(part, model)
    except BadSetting as error:
        return [failed(part, error)]
    folder = getattr(settings, "state_dir", None)
    findings: list[Finding] = [check_disk(f"{part}.state_dir", folder)] if folder else []
    for name, wire in wires(settings, part):
        try:
            findings += check_wire(part, settings, name, wire)
        except HeadwaterError as error:
            findings.append(failed(name, error))
    findings += check_trust(part, settings)
    if part == "edge":
        findings += check_routes("edge.bridge", settings)
        findings += check_bridge("edge.bridge", settings.folder)  # type: ignore[attr-defined]  # EdgeSettings has it
    return findings


def _print(findings: list[Finding]) -> None:
    for finding in findings:
        typer.echo(f"{SIGNS[finding.state]}  {finding.check}: {finding.says}")
        if finding.fix:
            typer.echo(f"      what to do: {finding.fix}")
