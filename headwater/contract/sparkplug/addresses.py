"""MQTT topics of Sparkplug B and the assets that they name (Sparkplug 3.0, section 4).

`spBv1.0/<group>/<type>/<edge node>[/<device>]`, or `spBv1.0/STATE/<host>`. Sparkplug allows nearly any character in a
name, an asset has a-z, 0-9 and hyphen. `asset_name` maps one to the other so that no two names become one:

- a-z and 0-9 stay, and so does a hyphen between two of them;
- any other byte of the UTF-8 becomes `-x` and two hex digits: `Pump_7` is `-x50ump-x5f7`;
- a hyphen elsewhere, or one that would look like such an escape, is escaped too (`-x2d`);
- names of several words are joined by `--`, which cannot come from within a word: `line-1--pump-7`.

What then has more than 40 characters is refused.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, cast
from zlib import crc32

from headwater.contract.decoders.reasons import BAD_ASSET
from headwater.contract.errors import BadInput
from headwater.contract.names import PATTERN
from headwater.contract.sparkplug.outcome import BAD_TOPIC, refuse

NAMESPACE = "spBv1.0"
MOST_BYTES = 1_024
MOST_KNOWN = 10_000  # topics remembered; a publisher may make up any number of them

Kind = Literal["NBIRTH", "NDATA", "NDEATH", "NCMD", "DBIRTH", "DDATA", "DDEATH", "DCMD", "STATE"]
_OF_NODE = {"NBIRTH", "NDATA", "NDEATH", "NCMD"}
_OF_DEVICE = {"DBIRTH", "DDATA", "DDEATH", "DCMD"}
_FORBIDDEN = re.compile(r"[+#\0]")
_PLAIN = re.compile(rb"[a-z0-9]|(?<=[a-z0-9])-(?=[a-z0-9])(?!x[0-9a-f]{2})")


class Address(NamedTuple):
    """What a topic says. `node` is `<group>/<edge node>`; `device` is empty for the edge node itself.

    `asset` is empty where `refusal` says why there is none; `crc` is that of the topic.
    """

    kind: Kind
    node: str
    device: str
    asset: str
    crc: int
    refusal: str = ""


def escaped(word: str) -> str:
    """The word in the characters of an asset's name; different words never become one."""
    raw = word.encode()
    return "".join(chr(byte) if _PLAIN.match(raw, at) else f"-x{byte:02x}" for at, byte in enumerate(raw))


def asset_name(*words: str) -> str:
    """The asset that these words name together; BadInput if the name would be too long."""
    name = "--".join(map(escaped, words))
    if not PATTERN.fullmatch(name):
        raise refuse(
            BAD_ASSET,
            f"the asset would be called {name[:60]!r}, {len(name)} characters; at most 40 are allowed",
            hint="use short names of a-z, 0-9 and hyphen, or name assets by fewer words of the topic",
        )
    return name


class Addresses:
    """Topics, each worked out once."""

    def __init__(self, naming: str) -> None:
        self._naming = naming
        self._known: dict[str, Address] = {}

    def of(self, topic: str) -> Address:
        """What the topic says; BadInput if it is not one of Sparkplug B."""
        found = self._known.get(topic)
        if found is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            found = self._known[topic] = self._work_out(topic)
        return found

    def asset_of(self, node: str, device: str) -> str:
        """The asset of an edge node (`group/name`) or of one of its devices; BadInput if there can be none."""
        group, _, name = node.partition("/")
        words = (group, name, device) if device else (group, name)
        if self._naming == "device":
            return asset_name(words[-1])
        return asset_name(*(words[1:] if self._naming == "node-device" else words))

    def _work_out(self, topic: str) -> Address:
        try:
            raw = topic.encode()
        except UnicodeEncodeError as error:
            raise refuse(BAD_TOPIC, "the topic is not UTF-8") from error
        words = topic.split("/")
        if len(raw) > MOST_BYTES or _FORBIDDEN.search(topic) or not all(words) or words[0] != NAMESPACE:
            raise _not_ours(topic)
        if len(words) == 3 and words[1] == "STATE":
            return Address("STATE", words[2], "", "", crc32(raw))
        kind = words[2] if len(words) > 3 else ""
        if not ((len(words) == 4 and kind in _OF_NODE) or (len(words) == 5 and kind in _OF_DEVICE)):
            raise _not_ours(topic)
        node, device = f"{words[1]}/{words[3]}", words[4] if len(words) == 5 else ""
        try:
            asset, refusal = self.asset_of(node, device), ""
        except BadInput as error:
            asset, refusal = "", str(error)
        return Address(cast("Kind", kind), node, device, asset, crc32(raw), refusal)


def ncmd(node: str) -> str:
    """The topic of commands to an edge node `group/name`."""
    group, _, name = node.partition("/")
    return f"{NAMESPACE}/{group}/NCMD/{name}"


def state(host_id: str) -> str:
    """The topic on which a host says whether it is there."""
    return f"{NAMESPACE}/STATE/{host_id}"


def _not_ours(topic: str) -> BadInput:
    return refuse(
        BAD_TOPIC,
        f"{topic[:100]!r} is no topic of Sparkplug B",
        hint="expected spBv1.0/<group>/<type>/<edge node>[/<device>]",
    )
