"""Which Avro schemas are read (Avro specification 1.12, "Schema Declaration"): those that bound what a payload becomes.

Refused are: a schema that contains itself (a payload of nested beginnings would overflow the C stack), items of
arrays and maps that take no bytes (a payload could declare 2^60 of them), and more types than any sensor needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from headwater.contract.errors import BadSetting

MAX_TYPES = 10_000  # with each use of a named type counted anew
MAX_LEVELS = 32
_COMPLEX = frozenset({"record", "error", "enum", "fixed", "array", "map"})
_PRIMITIVE = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})


def read_schema(text: bytes, name: str) -> Any:
    """The schema in JSON, checked; BadSetting says in words why it is not read."""
    try:
        schema = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise BadSetting(f"the Avro schema {name!r} is not JSON: {error}") from error
    _Check(name).least_bytes(schema, "", 0, ())
    return schema


class _Check:
    """One walk through a schema, every use of a named type included."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._types = 0
        self._named: dict[str, tuple[Any, str]] = {}

    def least_bytes(self, schema: Any, space: str, level: int, inside: tuple[str, ...]) -> int:
        """Fewest bytes that a datum takes; BadSetting for a schema that is not read."""
        self._types += 1
        if self._types > MAX_TYPES or level > MAX_LEVELS:
            raise self._refusal(f"has more than {MAX_TYPES} types or {MAX_LEVELS} levels")
        if isinstance(schema, str):
            return self._by_name(schema, space, level, inside)
        if isinstance(schema, list):
            return 1 + min((self.least_bytes(branch, space, level + 1, inside) for branch in schema), default=0)
        if not isinstance(schema, Mapping):
            raise self._refusal(f"has {str(schema)[:40]!r} where a type should be")
        kind = schema.get("type")
        if not isinstance(kind, str) or kind not in _COMPLEX:
            return self.least_bytes(kind, space, level + 1, inside)
        if kind in ("array", "map"):
            return self._items(schema.get("items" if kind == "array" else "values"), kind, space, level, inside)
        return self._declared(kind, schema, space, level, inside)

    def _by_name(self, name: str, space: str, level: int, inside: tuple[str, ...]) -> int:
        if name in _PRIMITIVE:
            return {"null": 0, "float": 4, "double": 8}.get(name, 1)
        full = name if "." in name or not space else f"{space}.{name}"
        if full in inside:
            raise self._refusal(
                f"contains itself in {full!r}", "sensors need no recursive types; give the levels names"
            )
        if full not in self._named:
            raise self._refusal(f"has no type {name!r}")
        schema, declared_in = self._named[full]
        return self._body(schema, full, declared_in, level, inside)

    def _declared(self, kind: str, schema: Mapping[str, Any], space: str, level: int, inside: tuple[str, ...]) -> int:
        name, given = schema.get("name"), schema.get("namespace", space)
        if not isinstance(name, str) or not isinstance(given, str):
            raise self._refusal(f"has a {kind} without a name")
        space = name.rpartition(".")[0] if "." in name else given
        full = name if "." in name or not space else f"{space}.{name}"
        self._named[full] = (schema, space)
        return self._body(schema, full, space, level, inside)

    def _body(self, schema: Mapping[str, Any], full: str, space: str, level: int, inside: tuple[str, ...]) -> int:
        if schema["type"] == "enum":
            return 1
        if schema["type"] == "fixed":
            size = schema.get("size")
            return size if isinstance(size, int) and size >= 0 else 0
        fields = schema.get("fields")
        if not isinstance(fields, list) or not all(isinstance(field, Mapping) for field in fields):
            raise self._refusal(f"has a record {full!r} without fields")
        within = (*inside, full)
        return sum(self.least_bytes(field.get("type"), space, level + 1, within) for field in fields)

    def _items(self, items: Any, kind: str, space: str, level: int, inside: tuple[str, ...]) -> int:
        if self.least_bytes(items, space, level + 1, inside) == 0 and kind == "array":
            raise self._refusal(
                "has an array of items that take no bytes", "a payload could declare any number of them"
            )
        return 1

    def _refusal(self, what: str, hint: str = "") -> BadSetting:
        return BadSetting(f"the Avro schema {self._name!r} {what}", hint=hint)
