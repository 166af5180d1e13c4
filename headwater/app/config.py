"""`headwater config`: what is set, whether it makes sense, and what each setting means."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import Any

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from headwater.app.parts import SETTINGS, settings_model
from headwater.app.values import defaults, plain, toml
from headwater.contract.errors import BadInput, BadSetting
from headwater.transport import settings
from headwater.transport.setting_names import allowed, lists_of_tables, variables

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="Show, check and explain settings.\n\nExample:  headwater config check",
)
PART = typer.Argument("edge", help=f"One of: {', '.join(SETTINGS)}.")
AS_JSON = typer.Option(False, "--json", help="Print one JSON object.")


@app.command()
def show(part: str = PART, as_json: bool = AS_JSON) -> None:
    """Print every setting of a part with its value, as TOML has it; secrets are never printed.

    Example:  headwater config show edge
    """
    model = settings_model(part)
    try:
        values = _flat(settings.load(part, model), part)
    except BadSetting:
        if not as_json:
            _print(_without_values(part, model))
        raise
    if as_json:
        typer.echo(json.dumps({name: plain(value) for name, value in values.items()}, indent=2))
    else:
        _print({name: toml(value) for name, value in values.items()})


@app.command()
def check(
    part: str = typer.Argument("", help="A part; all that are configured when left out."), as_json: bool = AS_JSON
) -> None:
    """Check settings without starting anything; says all that is wrong, where it was set, and the nearest right name.

    Nothing is connected to, but the files that settings name are read: `headwater doctor` asks the services.

    Example:  headwater config check edge
    """
    configured = [name for name in SETTINGS if settings.is_configured(name)]
    if not part and not configured:
        raise BadInput(
            "nothing is configured", hint=f"set HEADWATER_EDGE__SITE or the like, or write {settings.DEFAULT_FILE}"
        )
    found: dict[str, list[BadSetting] | None] = {
        name: _problems(name) if part or name in configured else None for name in ([part] if part else SETTINGS)
    }
    if as_json:
        judged = {name: _judged(problems) for name, problems in found.items()}
        judged |= {name: judged[name] | {"notes": _notes(name)} for name, problems in found.items() if problems == []}
        typer.echo(json.dumps({"parts": judged}, indent=2))
    else:
        for name, problems in found.items():
            for line in _verdict(problems):
                typer.echo(f"{name}: {line}")
            for note in _notes(name) if problems == [] else ():
                typer.echo(f"{name}: note: {note}")
    if any(found.values()):
        raise typer.Exit(BadSetting.exit_code)


@app.command()
def explain(
    name: str = typer.Argument(help="A setting or a section, such as edge.kafka.brokers or edge.kafka."),
    as_json: bool = AS_JSON,
) -> None:
    """Say what a setting means, its default, and how to set it; of a section, all of its settings.

    Example:  headwater config explain edge.kafka.brokers
    """
    part = name.partition(".")[0]
    known = {each["name"]: each for each in _explained(part)}
    inside = [each for dotted, each in known.items() if dotted.startswith(f"{name}.")]
    if name not in known and not inside:
        near = difflib.get_close_matches(name, known, n=1)
        raise BadInput(f"there is no setting {name}", hint=f"did you mean {near[0]}?" if near else "")
    if as_json:
        more = {"settings": inside} if inside else {}
        typer.echo(json.dumps(known.get(name, {"section": name}) | more, indent=2))
        return
    if name in known:
        _tell(known[name])
    elif inside:
        typer.echo(f"[[{name}]]" if _is_in_a_list(inside[0]) else f"[{name}]")
    for each in inside:
        values = f"\n  values: {each['values']}" if each["values"] else ""
        typer.echo(f"{each['name']} = {each['default']}\n  {each['meaning']}{values}")


def _explained(part: str) -> Iterator[dict[str, str]]:
    """Every setting of a part: what it means, its default, its values, and how it is set."""
    model = settings_model(part)
    told, lists = defaults(part, model), lists_of_tables(part, model)
    for variable, dotted, field in variables(part, model):
        table, _, key = dotted.rpartition(".")
        toml_way, environment = f"[{table}] {key} = ...", variable
        if dotted in lists:
            toml_way, environment = f"[[{dotted}]], once for each of its tables", f"{variable}='[{{...}}]', as JSON"
        yield _one(dotted, field, told, environment, toml_way)
        for _, inner, its in variables(dotted, lists[dotted]) if dotted in lists else ():
            *tables, key = inner.removeprefix(f"{dotted}.").split(".")
            written = f"{key} = ..."
            for name in reversed(tables):
                written = f"{name} = {{ {written} }}"
            yield _one(inner, its, told, f"in the JSON of {variable}", f"[[{dotted}]] {written}")


def _one(dotted: str, field: FieldInfo, told: dict[str, str], environment: str, toml_way: str) -> dict[str, str]:
    return {
        "name": dotted,
        "meaning": field.description or "",
        "default": told[dotted],
        "values": allowed(field),
        "environment": environment,
        "toml": toml_way,
    }


def _is_in_a_list(one: dict[str, str]) -> bool:
    return one["toml"].startswith("[[")


def _tell(one: dict[str, str]) -> None:
    typer.echo(f"{one['name']}\n  {one['meaning']}\n  default: {one['default']}")
    if one["values"]:
        typer.echo(f"  values: {one['values']}")
    typer.echo(f"  environment: {one['environment']}\n  headwater.toml: {one['toml']}")


def _problems(part: str) -> list[BadSetting]:
    """What is wrong with the settings themselves; else what a part would refuse at its start for what they name."""
    found = settings.problems(part, settings_model(part))
    if found or part != "edge":
        return found
    from edge_agent.settings import EdgeSettings  # noqa: PLC0415 - `--help` stays fast
    from headwater.app.doctor.routes import route_problems  # noqa: PLC0415 - as above

    return route_problems(settings.load("edge", EdgeSettings))


def _notes(part: str) -> list[str]:
    """What is allowed and hardly meant, of settings that are good."""
    if part != "edge":
        return []
    from edge_agent.bridge.routes import shadowed  # noqa: PLC0415 - `--help` stays fast
    from edge_agent.settings import EdgeSettings  # noqa: PLC0415 - as above

    loaded = settings.load("edge", EdgeSettings)
    return shadowed(loaded.bridge.routes, loaded.site)


def _judged(problems: list[BadSetting] | None) -> dict[str, Any]:
    if problems is None:
        return {"state": "not configured"}
    told = [{"says": str(problem), "what_to_do": problem.hint} for problem in problems]
    return {"state": "wrong", "problems": told} if told else {"state": "good"}


def _verdict(problems: list[BadSetting] | None) -> list[str]:
    if problems is None:
        return ["not configured"]
    return [f"{problem} ({problem.hint})" if problem.hint else str(problem) for problem in problems] or ["good"]


def _print(values: dict[str, str]) -> None:
    width = max(map(len, values))
    for name, value in values.items():
        typer.echo(f"{name:<{width}}  {value}")


def _without_values(part: str, model: type[BaseModel]) -> dict[str, str]:
    """Every setting with its default, for settings that do not load; says which are missing."""
    return {
        name: "(set)" if settings.is_given(part, name) else default for name, default in defaults(part, model).items()
    }


def _flat(model: BaseModel, prefix: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        values |= _flat(value, f"{prefix}.{name}") if isinstance(value, BaseModel) else {f"{prefix}.{name}": value}
    return values
