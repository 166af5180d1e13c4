"""Routes and schemas as the bridge would take them at its start, and the schema registry."""

from __future__ import annotations

from pydantic import BaseModel

from edge_agent.bridge.routes import problems, shadowed
from edge_agent.bridge.schemas import from_files, is_needed
from edge_agent.settings import EdgeSettings
from headwater.app.doctor.finding import Finding, failed, good, warning
from headwater.contract.errors import BadSetting, HeadwaterError


def route_problems(settings: EdgeSettings) -> list[BadSetting]:
    """What the bridge refuses at its start, found without a network."""
    bridge = settings.bridge
    try:
        schemas = from_files(bridge.schemas)
    except BadSetting as error:
        return [error]
    found = list(problems(bridge.routes, settings.site, schemas))
    if bridge.schema_registry is None and is_needed(bridge.routes):
        says = "a route takes messages that name schemas of a registry, and there is no registry"
        found.append(BadSetting(says, hint="set edge.bridge.schema_registry.url"))
    return found


def check_routes(check: str, settings: BaseModel) -> list[Finding]:
    """The table of routes with its schemas, then the schema registry if one is set; an EdgeSettings is looked at."""
    if not isinstance(settings, EdgeSettings):
        return []
    name, routes = f"{check} routes", settings.bridge.routes
    findings = [failed(name, problem) for problem in route_problems(settings)]
    if not findings:
        says = f"{len(routes)} of {len(routes)} can work, with {len(settings.bridge.schemas)} schemas from files"
        notes = shadowed(routes, settings.site)
        fix = "put it above the other, or take it out of [[edge.bridge.routes]]"
        findings = [warning(name, note, fix) for note in notes] or [good(name, says)]
    return [*findings, *_registry(f"{check}.schema_registry", settings)]


def _registry(check: str, settings: EdgeSettings) -> list[Finding]:
    wanted = settings.bridge.schema_registry
    if wanted is None:
        return []
    from headwater.transport.schema_registry import SchemaRegistry  # noqa: PLC0415 - brings an HTTP client

    try:
        SchemaRegistry(wanted).reach()
    except HeadwaterError as error:
        fix = f"{error.hint}; ".removeprefix("; ") + "look at edge.bridge.schema_registry"
        waits = f"messages of new schemas wait up to {settings.bridge.schema_wait_s:g} s, then go to dead-letters"
        return [Finding(check, "bad", f"{error}: {waits}", fix, error.exit_code)]
    return [good(check, f"{wanted.url} answers")]
