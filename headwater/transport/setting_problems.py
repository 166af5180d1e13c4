"""What pydantic finds wrong with settings, in words: the setting, where it was set, what it takes, what to do."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, SecretStr
from pydantic_core import ErrorDetails

from headwater.contract.errors import BadSetting
from headwater.transport.setting_names import (
    as_list,
    choices,
    lists_of_tables,
    model_at,
    nearest,
    nested,
    variable_of,
)

EXTRA = "extra_forbidden"  # pydantic's words
NO_LIST = ("tuple_type", "list_type")
_LENGTHS = ("too_short", "too_long", "string_too_short", "string_too_long")
_SHOWN = 40  # characters of a word that is none of a choice
_Place = Sequence[int | str]
_WORDS = {  # what pydantic says of types, by its own name of the error
    "int_type": "it must be a whole number",
    "int_parsing": "it must be a whole number",
    "int_from_float": "it must be a whole number",
    "float_type": "it must be a number",
    "float_parsing": "it must be a number",
    "bool_type": "it must be true or false",
    "bool_parsing": "it must be true or false",
    "string_type": "it must be a text, in quotes",
    "path_type": "it must be a path, in quotes",
    "dict_type": "it must be a table",
    "model_type": "it must be a table",
    "model_attributes_type": "it must be a table",
    "tuple_type": "it must be a list",
    "list_type": "it must be a list",
}


class Given(NamedTuple):
    """Where the settings of a part may come from, the first before the next."""

    section: str
    overrides: Mapping[str, Any]
    file: str
    table: Mapping[str, Any]
    secrets: Mapping[str, Any]


def explanation(wrong: ErrorDetails, model: type[BaseModel], given: Given, more: str = "") -> BadSetting:
    """The error for one of those that pydantic found; of what was set only a word that is none of a choice is shown."""
    place = wrong["loc"]
    name, variable = _name(place, model, given.section), variable_of(given.section, *_before_numbers(place))
    source = _source(place, given)
    if wrong["type"] == EXTRA:
        *inside, last = place
        inner = model_at(model, inside)
        hint = nearest(str(last), inner.model_fields) if inner is not None else "see docs/settings.md for all of them"
        return BadSetting(f"{source}there is no setting {name}", hint=hint)
    if wrong["type"] == "missing":
        variable = variable_of(given.section, *_before_numbers(place), *_needed(model_at(model, place)))
        # A table of a list cannot be completed by a variable.
        how = f"set {variable}, or put it into headwater.toml" if not _numbers(place) else "put it into headwater.toml"
        return BadSetting(f"the setting {name} is missing", hint=how)
    said, hint = _said(wrong, model, given.section)
    if place and not hint:  # no variable sets a whole section
        hint = f"it can be set by {variable}" + (", as JSON" if _numbers(place) else "")
    what = f"the setting {name}" if place else f"the section [{name}]"
    return BadSetting(f"{source}{what}: {said}{more}", hint=hint)


def _said(wrong: ErrorDetails, model: type[BaseModel], section: str) -> tuple[str, str]:
    """What is wrong with a value, and what to do where there is more to say than how to set it."""
    place, kind = wrong["loc"], wrong["type"]
    if kind == "literal_error":
        words = _choices_at(model, place)
        given = str(wrong.get("input"))
        shown = f"{given!r} is not one of" if len(given) <= _SHOWN and given.isprintable() else "it must be one of"
        near = nearest(given, words)
        return f"{shown} {', '.join(words)}", near if near.startswith("did") else ""
    if kind in NO_LIST:
        dotted = ".".join([section, *_before_numbers(place)])
        tables = lists_of_tables(section, model)
        if dotted in tables and not _numbers(place):
            return "it must be a list of tables", as_list(dotted, _example(tables[dotted]))
        return "it must be a list", f'a list is written as ["a", "b"]; {variable_of(dotted)} takes it as JSON'
    if kind in _LENGTHS and isinstance(wrong.get("input"), (str, SecretStr)):  # a secret's are "items" to pydantic
        which = next(name for name in ("min_length", "max_length") if name in wrong["ctx"])
        count = wrong["ctx"][which]
        characters = "character" if count == 1 else "characters"
        return f"it must have at {'least' if which == 'min_length' else 'most'} {count} {characters}", ""
    return _WORDS.get(kind) or _plain(wrong["msg"]), _absent(wrong, model, section) if kind == "value_error" else ""


def _absent(wrong: ErrorDetails, model: type[BaseModel], section: str) -> str:
    """How to set what the sentence about a table names and the table lacks; of a whole section, secrets alone."""
    place, given = [str(part) for part in wrong["loc"]], wrong.get("input")
    fields = getattr(model_at(model, place), "model_fields", {})
    names = [each for each in fields if re.search(rf"\b{each}\b", wrong["msg"])]
    names = [each for each in names if not (isinstance(given, Mapping) and each in given)]
    secrets = [each for each in names if "SecretStr" in str(fields[each].annotation)]
    names = names if place else secrets
    if not names:
        return ""
    how = f"it can be set by {' and '.join(variable_of(section, *place, each) for each in names)}"
    files = [f"{section}__{'__'.join([*place, each])}" for each in secrets]
    return how + (f", or by the file {files[0]} in the folder that HEADWATER_SECRETS names" if files else "")


def _needed(table: type[BaseModel] | None) -> list[str]:
    """Names from a table down to the first setting in it that has no default; empty for a plain setting."""
    for name, field in table.model_fields.items() if table is not None else ():
        if field.is_required():
            return [name, *_needed(nested(field.annotation))]
    return []


def _plain(words: str) -> str:
    """Pydantic's sentence without its own words."""
    words = re.sub(r"^(Value error|Assertion failed), ", "", words)
    words = re.sub(r"^(Input|Value|Tuple|List|String|Dictionary) should ", "it must ", words)
    return words.replace("valid tuple", "list").replace("valid dictionary", "table")


def _example(table: type[BaseModel]) -> str:
    return f'"{next(iter(table.model_fields))}": ...'


def _choices_at(model: type[BaseModel], place: _Place) -> list[str]:
    names = [part for part in place if isinstance(part, str)]
    for end in range(len(names), 0, -1):
        inner = model_at(model, names[: end - 1])
        field = inner.model_fields.get(names[end - 1]) if inner is not None else None
        if field is not None:
            return choices(field.annotation)
    return []


def _name(place: _Place, model: type[BaseModel], section: str) -> str:
    """The dotted name of a place; what stands in a list is counted from 1, as `headwater edge route list` does."""
    names: list[str] = [section]
    here: type[BaseModel] | None = model
    for part in place:
        if isinstance(part, int):
            continue
        if here is None and _numbers(place):
            break  # pydantic's word for the kind of an element
        field = here.model_fields.get(part) if here is not None else None
        names.append(part)
        here = nested(field.annotation) if field is not None else None
    numbers = _numbers(place)
    return ".".join(names) + (f" (number {', '.join(str(each + 1) for each in numbers)})" if numbers else "")


def _numbers(place: _Place) -> list[int]:
    return [part for part in place if isinstance(part, int)]


def _before_numbers(place: _Place) -> list[str]:
    end = next((at for at, part in enumerate(place) if isinstance(part, int)), len(place))
    return [str(part) for part in place[:end]]


def _source(place: _Place, given: Given) -> str:
    """Where a setting was set, to begin a sentence with; empty where it was not."""
    names = _before_numbers(place)
    if names and _holds(given.overrides, names):
        return "command line: "
    known = {variable.upper(): variable for variable in os.environ}
    for end in range(len(names), 0, -1):
        variable = known.get(variable_of(given.section, *names[:end]))
        if variable is not None and _holds(_json(os.environ[variable]), names[end:]):
            return f"environment: {variable}: "
    if names and _holds(given.table, names):
        return f"{given.file}: "
    return f"secret {given.section}__{'__'.join(names)}: " if names and _holds(given.secrets, names) else ""


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _holds(value: Any, names: Sequence[str]) -> bool:
    for name in names:
        if not isinstance(value, Mapping) or name not in value:
            return False
        value = value[name]
    return True
