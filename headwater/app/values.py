"""Values and defaults of settings as people write them: in TOML."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from headwater.transport.setting_names import nested, takes_many

NONE = "(none)"
MUST_BE_SET = "(must be set)"
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml(value: Any) -> str:
    """A value as headwater.toml has it, `(none)` where there is none; secrets are never shown."""
    if value is None:
        return NONE
    if isinstance(value, SecretStr):
        return "(secret, set)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, BaseModel):
        return toml(_fields(value))
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(str(name))} = {toml(one)}" for name, one in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, (list, tuple, set, frozenset)):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(str(value), ensure_ascii=False)  # a JSON string is a basic string of TOML


def plain(value: Any) -> Any:
    """A value as JSON can have it; secrets are never shown."""
    if isinstance(value, SecretStr):
        return "(secret, set)"
    if isinstance(value, BaseModel):
        return {name: plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def defaults(section: str, model: type[BaseModel]) -> dict[str, str]:
    """The default of each setting below `section`, by its dotted name; after a list of tables those of a table."""
    return dict(_defaults(section, model, None, ""))


def _defaults(section: str, model: type[BaseModel], given: Any, unused: str) -> Iterator[tuple[str, str]]:
    """`given` has the values of a section that has a default as a whole; `unused` names one that is off by default."""
    for name, field in model.model_fields.items():
        inner, dotted = nested(field.annotation), f"{section}.{name}"
        value = getattr(given, name) if given is not None else _default(field)
        if inner is None:
            yield dotted, _text(value, unused)
        elif takes_many(field.annotation):
            yield dotted, _text(value, unused)
            yield from _defaults(dotted, inner, None, "")
        elif isinstance(value, BaseModel):
            yield from _defaults(dotted, inner, value, unused)
        else:
            yield from _defaults(dotted, inner, None, dotted if value is None else unused)


def _default(field: FieldInfo) -> Any:
    if field.is_required():
        return PydanticUndefined
    return field.get_default(call_default_factory=True, validated_data={})


def _text(value: Any, unused: str) -> str:
    if value is not PydanticUndefined:
        return toml(value)
    return f"(none; must be set to use {unused})" if unused else MUST_BE_SET


def _fields(model: BaseModel) -> dict[str, Any]:
    """What is worth showing of a table in a list: its own values, and of tables in it what is not as by default."""
    found: dict[str, Any] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            value = value.model_dump(exclude_defaults=True)
        if value not in (None, {}, ()):
            found[name] = value
    return found


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)
