"""Java's properties files and login lines.

Sources: java.util.Properties.load (Java SE API), javax.security.auth.login.Configuration for `sasl.jaas.config`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from headwater.contract.errors import BadInput

_KEY = re.compile(r"((?:\\.|[^\\=:\s])*)\s*[=:]?\s*(.*)", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_OPTION = re.compile(r"""(\w[\w.]*)\s*=\s*(?:"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'|([^\s;"']+))""", re.DOTALL)


def parse_properties(data: bytes) -> dict[str, str]:
    """Values by key, a later line wins; BadInput for an escape that is none."""
    try:
        text = data.decode("utf-8-sig")  # editors put a byte order mark in front
    except UnicodeDecodeError:
        text = data.decode("latin-1")  # what Java reads by itself; what is UTF-8 is hardly ever meant as that
    found = {}
    for number, line in _logical_lines(text):
        match = _KEY.fullmatch(line)
        if match is None:
            raise BadInput(f"line {number} cannot be read as `key = value`")
        try:
            found[_unescaped(match[1])] = _unescaped(match[2])
        except UnicodeDecodeError as error:
            raise BadInput(f"line {number} has half of a surrogate pair, which is no character") from error
    return found


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without blanks in front and comments; one that ends with an odd number of backslashes goes on."""
    held, first = "", 0
    for number, raw in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        line = raw.lstrip(" \t\f")
        if not held and (not line or line[0] in "#!"):
            continue
        first = first if held else number
        backslashes = len(line) - len(line.rstrip("\\"))
        held += line[:-1] if backslashes % 2 else line
        if not backslashes % 2 and held:
            yield first, held
            held = ""
    if held:
        yield first, held


def _unescaped(text: str) -> str:
    units = _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else _CONTROLS.get(m[2], m[2]), text)
    return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le")  # Java's escapes are units of UTF-16


def parse_login(jaas: str) -> dict[str, str]:
    """Options of the first login module of a `sasl.jaas.config`."""
    found = {}
    for name, double, single, bare in _OPTION.findall(jaas):
        found[name] = re.sub(r"\\(.)", r"\1", double or single) if double or single else bare
    return found


def words(value: str) -> tuple[str, ...]:
    """A list as Kafka's settings have it: separated by commas, blanks around them left out."""
    return tuple(part for piece in value.split(",") if (part := piece.strip()))
