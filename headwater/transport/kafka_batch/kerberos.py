"""A login by Kerberos: GSSAPI's security context, then the message that declines a security layer (RFC 4752, 3.1).

The only place that imports gssapi, which is an extra. It asks the realm's KDC, and blocks meanwhile, so each step is an
`Errand` that the connection has done in a thread.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from headwater.contract.errors import BadSetting, HeadwaterError, Refused, Unreachable
from headwater.transport.kafka_batch.settings import KafkaSettings

if TYPE_CHECKING:
    import gssapi

HINT = "check username, keytab_file or ccache_file, kerberos_service, and the clocks: Kerberos bears five minutes"
_NO_LAYER = 1
_SIZE = 4  # octets of the broker's offer
# KRB5_KDC_UNREACH, KRB5_REALM_CANT_RESOLVE of krb5.h, as GSSAPI's unsigned minor codes.
_KDC_AWAY = frozenset({-1765328228 & 0xFFFFFFFF, -1765328229 & 0xFFFFFFFF})


class Errand(NamedTuple):
    """Work that blocks."""

    work: Callable[[], Any]


class Context:
    """One login at one broker. `BadSetting`, `Refused` and `Unreachable` (no KDC answers) from each method."""

    def __init__(self, settings: KafkaSettings, where: str) -> None:
        self._settings = settings
        self._where = where
        self._context: gssapi.SecurityContext | None = None

    @property
    def complete(self) -> bool:
        """Whether both sides know each other."""
        return self._context is not None and bool(self._context.complete)

    def step(self, token: bytes = b"") -> bytes:
        """Answer the broker's token; the first time without one, with a ticket for the broker."""
        return self._guarded(lambda: self._step(token))

    def decline(self, wrapped: bytes) -> bytes:
        """Answer what layers the broker offers: none is wanted, whoever wants encryption takes TLS."""
        return self._guarded(lambda: self._decline(wrapped))

    def _step(self, token: bytes) -> bytes:
        import gssapi  # noqa: PLC0415  # an extra

        if self._context is None:
            host = self._where.rpartition(":")[0]
            name = gssapi.Name(f"{self._settings.kerberos_service}@{host}", gssapi.NameType.hostbased_service)
            flags = gssapi.RequirementFlag
            self._context = gssapi.SecurityContext(
                name=name,
                creds=_credentials(self._settings),
                mech=gssapi.MechType.kerberos,
                flags=flags.mutual_authentication | flags.integrity | flags.replay_detection,
                usage="initiate",
            )
            return self._context.step() or b""
        return self._context.step(token) or b""

    def _decline(self, wrapped: bytes) -> bytes:
        if self._context is None:
            raise Refused(f"broker {self._where} offers a security layer before it is known")
        offer = self._context.unwrap(wrapped).message
        if len(offer) != _SIZE or not offer[0] & _NO_LAYER:
            raise Refused(
                f"broker {self._where} demands a security layer of SASL", hint="its sasl.qop must allow auth; use TLS"
            )
        return bytes(self._context.wrap(bytes((_NO_LAYER, 0, 0, 0)), encrypt=False).message)

    def _guarded(self, work: Callable[[], bytes]) -> bytes:
        try:
            from gssapi.exceptions import GSSError  # noqa: PLC0415  # an extra
        except (ImportError, OSError) as error:
            raise BadSetting(
                f"sasl_mechanism GSSAPI needs the Python package gssapi, which cannot be loaded: {error}",
                hint="pip install 'headwater[kerberos]', and MIT Kerberos of your distribution (libgssapi-krb5-2)",
            ) from error
        try:
            return work()
        except GSSError as error:
            raise _failure(error, self._where) from error


def _failure(error: Any, where: str) -> HeadwaterError:
    said = error.get_all_statuses(error.min_code, False) if error.min_code else []
    why = "; ".join(said or error.get_all_statuses(error.maj_code, True))
    if error.min_code in _KDC_AWAY:
        return Unreachable(f"no ticket for broker {where}: {why}", hint="start the realm's KDC, or correct krb5.conf")
    return Refused(f"no login by Kerberos at broker {where}: {why}", hint=HINT)


def _credentials(settings: KafkaSettings) -> gssapi.Credentials | None:
    """Those of the keytab or of the cache, else (None) what the environment has."""
    import gssapi  # noqa: PLC0415  # an extra

    name = settings.username and gssapi.Name(settings.username, gssapi.NameType.kerberos_principal)
    if settings.keytab_file is not None:
        path = settings.keytab_file.absolute()
        if not path.is_file():
            raise BadSetting(f"{path}: there is no such keytab", hint="set keytab_file")
        # Tickets are kept in memory for all connections of this process, and renewed by the library (krb5 1.11).
        kept = hashlib.sha256(f"{path}\0{settings.username}".encode()).hexdigest()[:16]
        store = {"client_keytab": f"FILE:{path}", "ccache": f"MEMORY:headwater-{kept}"}
    elif settings.ccache_file is not None:
        store = {"ccache": f"FILE:{settings.ccache_file.absolute()}"}
    elif name is None:
        return None
    else:
        return gssapi.Credentials(name=name, usage="initiate")
    return gssapi.Credentials(name=name or None, usage="initiate", store=store)
