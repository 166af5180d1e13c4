"""`protobuf`: one message by its descriptor (protobuf.dev, "Encoding"), by paths.

The schema is a FileDescriptorSet, as `protoc --include_imports --descriptor_set_out=FILE` writes it. A message is
read into the names of its .proto file: fields without presence have their default when they are not on the wire,
other absent fields are missing, enumerations are numbers, keys of maps are texts.
The only place of the decoders that imports google.protobuf.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from google.protobuf import any_pb2, descriptor_pb2, duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from headwater.contract.arrival import BAD_PAYLOAD
from headwater.contract.decoders.decoded import Decoder
from headwater.contract.decoders.paths import Path, Step, parse
from headwater.contract.decoders.reasons import TOO_LARGE, refused
from headwater.contract.decoders.shape import TreeDecoder
from headwater.contract.decoders.spec import DecoderSpec, nearest
from headwater.contract.errors import BadSetting

MAX_LEVELS = 32
MAX_FIELDS = 300_000  # of one message with its defaults: an element of two bytes may stand for hundreds of fields

# Files that protoc has built in; a set made without --include_imports lacks them.
_WELL_KNOWN = (any_pb2, duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2)


class _Field(NamedTuple):
    name: str
    has_presence: bool
    read: Callable[[Any, int], Any]


class _Trees:
    """Reads messages into trees; the fields of each type are worked out once."""

    def __init__(self) -> None:
        self._known: dict[str, list[_Field]] = {}
        self._left = 0

    def whole(self, message: Message) -> dict[str, Any]:
        """The tree of one message from outside; BadInput when it is too deep or has too many fields."""
        self._left = MAX_FIELDS
        return self.tree(message)

    def tree(self, message: Message, levels: int = MAX_LEVELS) -> dict[str, Any]:
        """The fields of a message by name, counted against the bound; BadInput when it is nested too deep."""
        if not levels:
            raise refused(BAD_PAYLOAD, f"the message is nested deeper than {MAX_LEVELS} levels")
        descriptor = message.DESCRIPTOR
        fields = self._known.get(descriptor.full_name)
        if fields is None:
            fields = self._known[descriptor.full_name] = [self._field(one) for one in descriptor.fields]
        self._left -= len(fields) + 1
        if self._left < 0:
            raise refused(TOO_LARGE, f"the message has more than {MAX_FIELDS} fields")
        return {
            name: read(getattr(message, name), levels - 1)
            for name, has_presence, read in fields
            if not has_presence or message.HasField(name)
        }

    def _field(self, field: Any) -> _Field:
        read = self.tree if field.message_type else _as_it_is
        if not field.is_repeated:
            return _Field(field.name, field.has_presence, read)
        if not _is_map(field):
            return _Field(field.name, False, lambda values, levels: [read(one, levels) for one in values])
        read = self.tree if field.message_type.fields_by_name["value"].message_type else _as_it_is
        return _Field(field.name, False, lambda pairs, levels: {str(k): read(pairs[k], levels) for k in pairs})


def _as_it_is(value: Any, levels: int) -> Any:
    del levels
    return value


def _is_map(field: Any) -> bool:
    return bool(field.message_type and field.message_type.GetOptions().map_entry)


class _Reader:
    """Reads messages of one type."""

    def __init__(self, descriptor: Descriptor) -> None:
        self._make = GetMessageClass(descriptor)
        self._tree = _Trees().whole

    def read(self, schema_id: int | None, payload: bytes) -> Any:
        """The tree of a message; BadInput when the payload is not one."""
        if schema_id is not None:
            payload = _without_indexes(payload)
        message = self._make()
        try:
            message.ParseFromString(payload)
        except (DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise refused(BAD_PAYLOAD, f"not a {message.DESCRIPTOR.full_name}: {error}") from error
        return self._tree(message)


def _without_indexes(payload: bytes) -> bytes:
    """What follows the indexes of the message in its .proto, zigzag varints (Confluent, "Wire format").

    Which message it is, the route says; the usual `[0]` is the single byte 0.
    """
    count, at = _varint(payload, 0)
    for _ in range(count >> 1):
        _, at = _varint(payload, at)
    return payload[at:]


def _varint(payload: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(payload):
            break
        value |= (payload[at] & 0x7F) << shift
        at += 1
        if payload[at - 1] < 0x80:
            return value, at
    raise refused(BAD_PAYLOAD, "the indexes of the message end in the middle", hint="see `framing`")


def _pool(text: bytes, name: str) -> tuple[DescriptorPool, list[str]]:
    """All files of a set in a pool of their own, and the names of its messages."""
    try:
        files = descriptor_pb2.FileDescriptorSet.FromString(text)
        given = {file.name: file for file in files.file}
        built_in = (descriptor_pb2.FileDescriptorProto.FromString(one.DESCRIPTOR.serialized_pb) for one in _WELL_KNOWN)
        given = {file.name: file for file in built_in} | given
        pool = DescriptorPool()
        for file in given.values():
            pool.Add(file)
        names = [found.full_name for file in files.file for found in _messages(pool.FindFileByName(file.name))]
    except (DecodeError, TypeError, KeyError, ValueError) as error:
        raise BadSetting(
            f"the schema {name!r} is not a whole FileDescriptorSet: {error}",
            hint="make it by protoc --include_imports --descriptor_set_out=FILE",
        ) from error
    return pool, names


def _messages(file: Any) -> Iterable[Descriptor]:
    waiting = list(file.message_types_by_name.values())
    while waiting:
        message = waiting.pop()
        yield message
        waiting.extend(message.nested_types)


def _check_path(path: Path, descriptor: Any, samples: Path) -> None:
    """Raise BadSetting for a path that names a field which the message does not have."""
    element: tuple[Step, ...] = (0,) if samples.text else ()
    steps = path.steps if path.from_message else samples.steps + element + path.steps
    here: Any = descriptor  # None below a field that holds no message
    is_many = False
    for step in steps:
        if is_many != isinstance(step, int):
            hint = f"write [0] before {step}" if is_many else ""
            raise BadSetting(
                f"the path {path.text!r}: an index belongs to repeated fields, and to all of them", hint=hint
            )
        if isinstance(step, int):
            is_many = False
            continue
        if here is None:
            raise BadSetting(f"the path {path.text!r} goes on where a {descriptor.full_name} ends")
        field = here.fields_by_name.get(step)
        if field is None:
            hint = nearest(step, here.fields_by_name)
            raise BadSetting(f"the path {path.text!r}: {here.full_name} has no field {step!r}", hint=hint)
        if _is_map(field):
            return  # its keys are known to the messages alone
        here, is_many = field.message_type, field.is_repeated


def build(spec: DecoderSpec, schemas: Mapping[str, bytes]) -> Decoder:
    """The decoder of a spec; BadSetting for a schema, message or field that does not exist."""
    name, message = spec.schema_name or "", spec.message or ""
    if name not in schemas:
        raise BadSetting(f"there is no schema {name!r}", hint=nearest(name, schemas))
    pool, known = _pool(schemas[name], name)
    if message not in known:
        raise BadSetting(f"the schema {name!r} has no message {message!r}", hint=nearest(message, known))
    descriptor = pool.FindMessageTypeByName(message)
    samples = parse(spec.samples)
    _check_path(samples._replace(from_message=True), descriptor, samples)
    for path in (spec.time, spec.asset, spec.below, *spec.values.values()):
        _check_path(parse(path or ""), descriptor, samples)
    return TreeDecoder(spec, _Reader(descriptor).read)
