"""What a broker means by its reason codes, and what to do about it (MQTT 5, 2.4; 3.1.1 has a few at CONNACK)."""

from __future__ import annotations

from headwater.contract.errors import HeadwaterError, Refused
from headwater.transport.dialling import unreachable

TAKEN_OVER = 0x8E
# 3.2.2.2: unsupported version, bad client id, bad password, not authorised, banned, bad authentication method
_FINAL = frozenset({0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C})
_WORDS = {
    0x81: "it was sent a malformed packet",
    0x82: "it was sent what the protocol does not allow",
    0x87: "this client is not authorised",
    0x89: "it is busy",
    0x8B: "it is shutting down",
    0x8D: "it heard nothing of this client for one and a half times the keepalive",
    TAKEN_OVER: "another connection with the same client id took the session over",
    0x93: "it was owed more acknowledgements than it allows",
    0x94: "a topic alias is not valid",
    0x95: "a packet is larger than it takes",
    0x96: "messages come faster than it takes",
    0x97: "a quota is used up",
    0x98: "an administrator ended it",
    0x9C: "another server is to be used",
    0x9D: "this server has moved",
    0xA0: "the time that a connection may last is over",
}


def ending(code: int, name: str) -> str:
    """Why the broker ended a connection, for people; `name` is the protocol's word."""
    words = _WORDS.get(code)
    return f"the broker ended it ({code:#04x}): {words or name}"


def refusal(where: str, code: int, name: str) -> HeadwaterError:
    """The error for a login that was not accepted: final, or worth another try."""
    if code not in _FINAL:
        return unreachable(f"MQTT broker {where}", f"answers: {name}")
    return Refused(
        f"MQTT broker {where} refuses the connection: {name}",
        hint="check username, password, client_id and protocol, and the broker's access list",
    )
