"""Fields of a JSON value by their paths: `a.b` is b inside of a; a dot of a name has a backslash before it.

Lists on the way are gone through. Values are taken apart only along the paths, and what is not named keeps its bytes:
numbers of any length and precision stay as they were written, only blanks between the members of an object that was
changed are lost (and all but the last of several members of the same name).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

Parts = tuple[str, ...]
Members = dict[str, msgspec.Raw]
_DIVIDED = re.compile(r"(?:\\.|[^.\\])+")

_TOO_DEEP = "nested too deeply"

_members = msgspec.json.Decoder(Members)
_elements = msgspec.json.Decoder(list[msgspec.Raw])
_any = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode


class Unreadable(ValueError):
    """A value that is no JSON object; says why."""


def parts_of(path: str) -> Parts:
    """Names of a path from the outside in; ValueError for one that names nothing."""
    found = tuple(re.sub(r"\\(.)", r"\1", each) for each in _DIVIDED.findall(path))
    if ".".join(_DIVIDED.findall(path)) != path or not found:
        raise ValueError(f"{path!r} is no path of a field, such as values.flow")
    return found


def members_of(value: bytes) -> Members:
    """The members of a JSON object, each as it is written; Unreadable."""
    try:
        return _members.decode(value)
    except msgspec.ValidationError:
        raise Unreadable("not an object") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise Unreadable("not JSON") from None


def found_at(value: bytes, parts: Parts) -> list[Any]:
    """What stands at a path: nothing, one value, or several where there are lists on the way; Unreadable."""
    raw = members_of(value).get(parts[0])
    if raw is None:
        return []
    try:
        return list(_within(_plain(raw), parts[1:]))
    except RecursionError:
        raise Unreadable(_TOO_DEEP) from None


def _plain(raw: msgspec.Raw) -> Any:
    try:
        return _any.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise Unreadable("not JSON") from None


def _within(value: Any, parts: Parts) -> Iterator[Any]:
    if isinstance(value, list):
        for each in value:
            yield from _within(each, parts)
    elif not parts:
        yield value
    elif isinstance(value, dict) and parts[0] in value:
        yield from _within(value[parts[0]], parts[1:])


# An object that holds the last name of a path, and that name; changes the object in place.
Edit = Callable[[Members, str], None]


def edited(value: bytes, changes: list[tuple[Parts, Edit]]) -> bytes:
    """A value with its changes, one after the other; the same bytes where no path leads anywhere. Unreadable."""
    members = members_of(value)
    touched = False
    try:
        for parts, edit in changes:
            touched |= _edit(members, parts, edit)
    except RecursionError:
        raise Unreadable(_TOO_DEEP) from None
    return _encode(members) if touched else value


def _edit(members: Members, parts: Parts, edit: Edit) -> bool:
    raw = members.get(parts[0])
    if raw is None:
        return False
    if len(parts) == 1:
        edit(members, parts[0])
        return True
    inner = _edited(raw, parts[1:], edit)
    if inner is None:
        return False
    members[parts[0]] = inner
    return True


def _edited(raw: msgspec.Raw, parts: Parts, edit: Edit) -> msgspec.Raw | None:
    """What becomes of a member further along a path; None: nothing."""
    first = _first(raw)
    if first == b"{":
        members = members_of(bytes(raw))
        return msgspec.Raw(_encode(members)) if _edit(members, parts, edit) else None
    if first == b"[":
        elements = _elements.decode(raw)
        new = [_edited(each, parts, edit) for each in elements]
        if all(each is None for each in new):
            return None
        return msgspec.Raw(
            _encode([here if there is None else there for here, there in zip(elements, new, strict=True)])
        )
    return None


def _first(raw: msgspec.Raw) -> bytes:
    return bytes(raw).lstrip(b" \t\r\n")[:1]


def text_of(raw: msgspec.Raw) -> bytes:
    """What a digest is made of: the UTF-8 of a string, the JSON text of anything else, without blanks around it."""
    text = bytes(raw).strip(b" \t\r\n")
    if text.startswith(b'"'):
        plain = _plain(raw)
        return str(plain).encode("utf-8", "surrogatepass")
    return text
