"""Settings from the command line, the environment, `headwater.toml` and a secrets folder, in that order.

`HEADWATER_EDGE__KAFKA__BROKERS=...` and
```toml
[edge.kafka]
brokers = "..."
```
set the same thing. The file is `headwater.toml` in the working folder, or what HEADWATER_CONFIG names. A secret
may be a file called `edge__kafka__password` in the folder that HEADWATER_SECRETS names. What does not exist is
refused with the nearest name that does.
"""

from __future__ import annotations

import json
import math
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from headwater.contract.errors import BadSetting
from headwater.transport.secret_files import read_secrets
from headwater.transport.setting_names import (
    PREFIX,
    as_list,
    lists_of_tables,
    nearest,
    nested,
    takes_many,
    variable_of,
    variables,
)
from headwater.transport.setting_problems import EXTRA, NO_LIST, Given, explanation

SECTIONS = ("edge", "replicator", "trainer", "fleet")
DEFAULT_FILE = "headwater.toml"
PLAIN_VARIABLES = ("HOME", "CONFIG", "SECRETS", "DATA", "MOSQUITTO")  # read elsewhere, not settings of a part
Model = TypeVar("Model", bound=BaseModel)


def home() -> Path:
    """Folder of everything that Headwater keeps on this machine."""
    return Path(os.environ.get("HEADWATER_HOME") or Path.home() / ".local/share/headwater")


def load(section: str, model: type[Model], overrides: Mapping[str, Any] | None = None) -> Model:
    """The settings of one part; BadSetting names what is wrong and where it was set.

    `overrides` are nested like the model and win over everything: they come from the command line.
    """
    table = _table(_file(), section)
    unknown = next(_unknown_names(table, section, model), None)
    if unknown is not None:
        raise unknown
    secrets = _secrets(section, model)
    try:
        loaded = _loader(section, model, table, secrets)(**(overrides or {}))
    except ValidationError as error:
        raise _first(error, model, Given(section, overrides or {}, str(_file()), table, secrets)) from error
    except SettingsError:
        raise _not_json(section, model) from None  # its cause holds the value, which may be a secret
    for endless in _endless(loaded.model_dump(), section):
        raise endless
    return model.model_validate(loaded.model_dump(exclude_unset=True, round_trip=True))


def problems(section: str, model: type[BaseModel]) -> list[BadSetting]:
    """All that is wrong with the settings of a part, names that do not exist first; empty when they would load."""
    try:
        table = _table(_file(), section)
        found = list(_unknown_names(table, section, model))
        secrets = _secrets(section, model)
        loaded = _loader(section, model, table, secrets)()
    except BadSetting as error:  # what cannot even be read
        return [error]
    except ValidationError as error:
        told = " ".join(map(str, found)).upper().replace("__", ".")
        given = Given(section, {}, str(_file()), table, secrets)
        return found + [
            explanation(each, model, given)
            for each in error.errors(include_url=False)
            if each["type"] not in (EXTRA, *NO_LIST)
            or f"{section}.{'.'.join(map(str, each['loc']))}".upper() not in told
        ]
    except SettingsError:
        return [*found, _not_json(section, model)]
    return [*found, *_endless(loaded.model_dump(), section)]


def _unknown_names(table: Mapping[str, Any], section: str, model: type[BaseModel]) -> Iterator[BadSetting]:
    yield from _unknown(table, model, section, str(_file()))
    yield from _unknown_variables(section, model)


def is_given(section: str, dotted: str) -> bool:
    """Whether the setting `dotted` of a part is in the environment or the file, whatever its value."""
    inside: Any = {section: _table(_file(), section)}
    for name in dotted.split("."):
        inside = inside.get(name) if isinstance(inside, dict) else None
    variable = PREFIX + dotted.upper().replace(".", "__")
    return inside is not None or any(known.upper() == variable for known in os.environ)


def _file() -> Path:
    return Path(os.environ.get("HEADWATER_CONFIG") or DEFAULT_FILE)


def is_configured(section: str) -> bool:
    """Whether anything is set for this part, by the environment or the file."""
    path = _file()
    return bool(_table(path, section)) or any(v.upper().startswith(f"{PREFIX}{section.upper()}__") for v in os.environ)


def _loader(
    section: str, model: type[BaseModel], table: Mapping[str, Any], secrets: Mapping[str, Any]
) -> type[BaseSettings]:
    class Known(PydanticBaseSettingsSource):
        """Values that were read already, nested as the model is."""

        def __init__(self, settings_cls: type[BaseSettings], values: Mapping[str, Any]) -> None:
            super().__init__(settings_cls)
            self._values = values

        def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
            del field
            return self._values.get(field_name), field_name, False

        def __call__(self) -> dict[str, Any]:
            return dict(self._values)

    class Loader(model, BaseSettings):  # type: ignore[misc,valid-type]  # the part's model, read from outside
        model_config = SettingsConfigDict(
            env_prefix=f"{PREFIX}{section.upper()}__",
            env_nested_delimiter="__",
            extra="forbid",
            frozen=True,
        )

        @classmethod
        def settings_customise_sources(  # pydantic-settings calls it so
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del dotenv_settings, file_secret_settings  # that one cannot read nested names
            return init_settings, env_settings, Known(settings_cls, table), Known(settings_cls, secrets)

    return Loader


def _secrets(section: str, model: type[BaseModel]) -> dict[str, Any]:
    return read_secrets(section, [dotted for _, dotted, _ in variables(section, model)], SECTIONS)


def _endless(value: Any, name: str) -> Iterator[BadSetting]:
    """A number that nothing can wait for or count to."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _endless(inner, f"{name}.{key}")
    elif isinstance(value, (list, tuple)):
        for at, inner in enumerate(value):
            yield from _endless(inner, f"{name}.{at}")
    elif isinstance(value, float) and not math.isfinite(value):
        yield BadSetting(
            f"the setting {name}: {value} is not a finite number", hint="see docs/settings.md for its unit"
        )


def _table(path: Path, section: str) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text())
    except FileNotFoundError:
        if "HEADWATER_CONFIG" in os.environ:
            raise BadSetting(f"HEADWATER_CONFIG names {path}, which does not exist") from None
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path} is not TOML: {error}") from error
    except OSError as error:
        raise BadSetting(f"{path} cannot be read: {error.strerror}") from error
    for name in document:
        if name not in SECTIONS:
            raise BadSetting(f"{path} has a section [{name}], which does not exist", hint=nearest(name, SECTIONS))
    table = document.get(section, {})
    if not isinstance(table, dict):
        raise BadSetting(f"{path}: `{section}` is not a section")
    return table


def _unknown(table: Mapping[str, Any], model: type[BaseModel], where: str, source: str) -> Iterator[BadSetting]:
    for name, value in table.items():
        field = model.model_fields.get(name)
        if field is None:
            yield BadSetting(
                f"{source}: there is no setting {where}.{name}", hint=nearest(name, model.model_fields, where + ".")
            )
            continue
        inner = nested(field.annotation)
        if inner is not None and isinstance(value, dict):
            yield from _unknown(value, inner, f"{where}.{name}", source)


def _unknown_variables(section: str, model: type[BaseModel]) -> Iterator[BadSetting]:
    known = {variable for variable, _, _ in variables(section, model)}
    mine = f"{PREFIX}{section.upper()}__"
    others = tuple(f"{PREFIX}{other.upper()}__" for other in SECTIONS if other != section)
    plain = {PREFIX + name for name in PLAIN_VARIABLES}
    for variable in os.environ:
        upper = variable.upper()
        if not upper.startswith(PREFIX) or upper.startswith(others) or upper in known | plain:
            continue
        if upper.startswith(mine) and any(k.startswith(upper + "__") for k in known):
            continue  # a whole table as JSON
        lists = (each for each in lists_of_tables(section, model) if upper.startswith(variable_of(each) + "__"))
        hint = next(map(as_list, lists), "") or nearest(upper, [*known, *plain])
        yield BadSetting(f"environment: {variable} is not a setting of Headwater", hint=hint)


def _not_json(section: str, model: type[BaseModel]) -> BadSetting:
    """What to say of the variable that should hold a table or a list; its value stays out of the message."""
    fields = {variable: field for variable, _, field in variables(section, model)}
    for variable, value in os.environ.items():
        upper = variable.upper()
        if not upper.startswith(f"{PREFIX}{section.upper()}__"):
            continue
        try:
            json.loads(value)
        except ValueError:
            if any(known.startswith(upper + "__") for known in fields):
                return BadSetting(f"environment: {variable} is not JSON", hint=f"or set {upper}__... one by one")
            field = fields.get(upper)
            if field is not None and takes_many(field.annotation):
                tables = (as_list(each) for each in lists_of_tables(section, model) if variable_of(each) == upper)
                hint = next(tables, 'a list is written as ["a","b"], a table as {"a":"b"}')
                return BadSetting(f"environment: {variable} is not JSON", hint=hint)
    return BadSetting(f"environment: a table or list of {section} is not JSON", hint="see docs/settings.md")


def _first(error: ValidationError, model: type[BaseModel], given: Given) -> BadSetting:
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return explanation(error.errors(include_url=False)[0], model, given, more)
