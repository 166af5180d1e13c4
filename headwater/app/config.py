"""`headwater config`: what is set, whether it makes sense, and what each setting means."""

from __future__ import annotations

import difflib
import json
from typing import Any

import typer
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from headwater.app.parts import SETTINGS, settings_model
from headwater.contract.errors import BadInput, BadSetting, HeadwaterError
from headwater.transport import settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Show, check and explain settings.\n\nExample:  headwater config check",
)
PART = typer.Argument("edge", help=f"One of: {', '.join(SETTINGS)}.")
AS_JSON = typer.Option(False, "--json", help="Print one JSON object.")


@app.command()
def show(part: str = PART, as_json: bool = AS_JSON) -> None:
    """Print every setting of a part with its value; secrets are never printed.

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
        typer.echo(json.dumps(values, indent=2))
    else:
        _print(values)


@app.command()
def check(part: str = typer.Argument("", help="A part; all that are configured when left out.")) -> None:
    """Check settings without starting anything; says what is wrong, where it was set, and the nearest right name.

    Example:  headwater config check edge
    """
    failed: HeadwaterError | None = None
    configured = [name for name in SETTINGS if settings.is_configured(name)]
    if not part and not configured:
        raise BadInput(
            "nothing is configured", hint=f"set HEADWATER_EDGE__SITE or the like, or write {settings.DEFAULT_FILE}"
        )
    for name in [part] if part else SETTINGS:
        if not part and name not in configured:
            typer.echo(f"{name}: not configured")
            continue
        model = settings_model(name)
        try:
            settings.load(name, model)
        except HeadwaterError as error:
            typer.echo(f"{name}: {error}" + (f" ({error.hint})" if error.hint else ""))
            failed = error
        else:
            typer.echo(f"{name}: good")
    if failed is not None:
        raise typer.Exit(failed.exit_code)


@app.command()
def explain(name: str = typer.Argument(help="A setting, such as edge.kafka.brokers.")) -> None:
    """Say what a setting means, its default, and how to set it.

    Example:  headwater config explain edge.kafka.brokers
    """
    part = name.partition(".")[0]
    known = {dotted: (variable, field) for variable, dotted, field in settings.variables(part, settings_model(part))}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise BadInput(f"there is no setting {name}", hint=f"did you mean {near[0]}?" if near else "")
    variable, field = known[name]
    typer.echo(f"{name}\n  {field.description or 'no description'}\n  default: {default_text(field)}")
    table, _, key = name.rpartition(".")
    typer.echo(f"  environment: {variable}\n  headwater.toml: [{table}] {key} = ...")


def default_text(field: FieldInfo) -> str:
    """A default as people read it; `(must be set)` where there is none."""
    if field.is_required():
        return "(must be set)"
    default = field.get_default(call_default_factory=True, validated_data={})
    return "(must be set)" if default is PydanticUndefined else "(none)" if default is None else str(default)


def _print(values: dict[str, Any]) -> None:
    width = max(map(len, values))
    for name, value in values.items():
        typer.echo(f"{name:<{width}}  {value}")


def _without_values(part: str, model: type[BaseModel]) -> dict[str, Any]:
    """Every setting with its default, for settings that do not load; says which are missing."""
    return {
        name: "(set)" if settings.is_given(part, name) else default_text(field)
        for _, name, field in settings.variables(part, model)
    }


def _flat(model: BaseModel, prefix: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            values |= _flat(value, f"{prefix}.{name}")
        elif isinstance(value, SecretStr):
            values[f"{prefix}.{name}"] = "(secret, set)"
        else:
            plain = isinstance(value, str | int | float | bool | None)
            values[f"{prefix}.{name}"] = value if plain else str(value)
    return values
