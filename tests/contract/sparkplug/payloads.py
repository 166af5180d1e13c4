"""An encoder of Sparkplug B payloads that shares nothing with ours: google's protobuf with a descriptor made here.

Field numbers are those of the public sparkplug_b.proto (Sparkplug 3.0, section 6.4).
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

STRING, BYTES, UINT32, UINT64, BOOL, FLOAT, DOUBLE, MESSAGE = 9, 12, 13, 4, 8, 2, 1, 11  # FieldDescriptorProto.Type

NAMES = (
    *("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float", "Double", "Boolean"),
    *("String", "DateTime", "Text", "UUID", "DataSet", "Bytes", "File", "Template"),
)
TYPES = {name: number for number, name in enumerate(NAMES, start=1)}


def _classes() -> tuple[Any, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="sparkplug_test.proto", package="t", syntax="proto2")
    payload = file.message_type.add(name="Payload")
    metric = payload.nested_type.add(name="Metric")
    value = payload.nested_type.add(name="PropertyValue")
    properties = payload.nested_type.add(name="PropertySet")
    metric.oneof_decl.add(name="value")
    value.oneof_decl.add(name="value")

    def add(into: Any, name: str, number: int, kind: int, many: bool = False, of: str = "", one: bool = False) -> None:
        field = into.field.add(name=name, number=number, type=kind, label=3 if many else 1)
        if of:
            field.type_name = of
        if one:
            field.oneof_index = 0

    add(payload, "timestamp", 1, UINT64)
    add(payload, "metrics", 2, MESSAGE, many=True, of=".t.Payload.Metric")
    add(payload, "seq", 3, UINT64)
    add(payload, "uuid", 4, STRING)
    add(payload, "body", 5, BYTES)
    for name, number, kind in [
        ("name", 1, STRING), ("alias", 2, UINT64), ("timestamp", 3, UINT64), ("datatype", 4, UINT32),
        ("is_historical", 5, BOOL), ("is_transient", 6, BOOL), ("is_null", 7, BOOL),
    ]:  # fmt: skip
        add(metric, name, number, kind)
    add(metric, "properties", 9, MESSAGE, of=".t.Payload.PropertySet")
    for name, number, kind in [
        ("int_value", 10, UINT32), ("long_value", 11, UINT64), ("float_value", 12, FLOAT),
        ("double_value", 13, DOUBLE), ("boolean_value", 14, BOOL), ("string_value", 15, STRING),
        ("bytes_value", 16, BYTES), ("dataset_value", 17, BYTES), ("template_value", 18, BYTES),
    ]:  # fmt: skip
        add(metric, name, number, kind, one=True)
    add(properties, "keys", 1, STRING, many=True)
    add(properties, "values", 2, MESSAGE, many=True, of=".t.Payload.PropertyValue")
    add(value, "type", 1, UINT32)
    add(value, "is_null", 2, BOOL)
    for name, number, kind in [
        ("int_value", 3, UINT32), ("long_value", 4, UINT64), ("double_value", 6, DOUBLE), ("string_value", 8, STRING),
    ]:  # fmt: skip
        add(value, name, number, kind, one=True)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName("t.Payload")
    return message_factory.GetMessageClass(found), found


Payload, _descriptor = _classes()

_FIELD = {"Float": "float_value", "Double": "double_value", "Boolean": "boolean_value"}
_FIELD |= dict.fromkeys(("String", "Text", "UUID"), "string_value")
_FIELD |= dict.fromkeys(("Bytes", "File"), "bytes_value")
_FIELD |= dict.fromkeys(("Int64", "UInt64", "DateTime"), "long_value")
_BY_VALUE = {float: "float_value", bool: "boolean_value", str: "string_value"}
_FIELD |= {"DataSet": "dataset_value", "Template": "template_value"}


def metric(
    value: Any = None,
    kind: str = "Double",
    *,
    name: str | None = None,
    alias: int | None = None,
    t: int | None = None,
    typed: bool = False,
    flags: tuple[str, ...] = (),
    properties: dict[str, Any] | None = None,
) -> Any:
    """A metric; `typed` says the data type on the wire, as births do."""
    made = Payload.Metric(name=name, alias=alias, timestamp=t)
    if typed:
        made.datatype = TYPES[kind]
    for flag in flags:
        setattr(made, flag, True)
    if value is not None:
        field = _FIELD.get(kind) or _BY_VALUE.get(type(value) if not kind else int, "int_value")
        if isinstance(value, int) and value < 0 and field in ("int_value", "long_value"):
            value += 1 << (32 if field == "int_value" else 64)
        setattr(made, field, value)
    for key, content in (properties or {}).items():
        made.properties.keys.append(key)
        if isinstance(content, str):
            made.properties.values.add(type=12, string_value=content)
        else:
            made.properties.values.add(type=3, int_value=content)
    return made


def payload(*metrics: Any, seq: int | None = None, t: int | None = 1_763_718_300_000) -> bytes:
    return bytes(Payload(timestamp=t, metrics=metrics, seq=seq).SerializeToString())
