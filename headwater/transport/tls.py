"""TLS by files: the same rules for every wire."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Protocol

from headwater.contract.errors import BadSetting, Unreachable, Untrusted


class TlsFiles(Protocol):
    """The part of a wire's settings that says how to encrypt."""

    @property
    def tls(self) -> bool:
        """Whether to encrypt."""
        ...

    @property
    def ca_file(self) -> Path | None:
        """Authorities to trust."""
        ...

    @property
    def cert_file(self) -> Path | None:
        """Certificate of the client."""
        ...

    @property
    def key_file(self) -> Path | None:
        """Key of the certificate."""
        ...


def check_complete(files: TlsFiles) -> None:
    """ValueError for files that would have no effect, or a key without its certificate."""
    if not files.tls and (files.ca_file or files.cert_file or files.key_file):
        raise ValueError("ca_file, cert_file and key_file have no effect without tls = true")
    if files.key_file and not files.cert_file:
        raise ValueError("key_file needs cert_file")


def context(files: TlsFiles, where: str) -> ssl.SSLContext | None:
    """Build the TLS context, or None without TLS; BadSetting if a file cannot be read or is no PEM."""
    if not files.tls:
        return None
    try:
        made = ssl.create_default_context(cafile=files.ca_file)
        if files.cert_file:
            made.load_cert_chain(files.cert_file, files.key_file)
    except OSError as error:  # ssl.SSLError is one too
        names = ", ".join(str(f) for f in (files.ca_file, files.cert_file, files.key_file) if f)
        raise BadSetting(f"the TLS files of {where} cannot be used ({names}): {error}") from error
    return made


def trusted_context(ca_file: str | None) -> ssl.SSLContext:
    """TLS with the authorities of a file, or the system's; BadSetting if the file cannot be used."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise BadSetting(f"the authorities in {ca_file} cannot be used: {error}") from error


def certificate_end(host: str, port: int, context: ssl.SSLContext, *, timeout_s: float = 5.0) -> float:
    """When the certificate that a server shows ends, in seconds of Unix time.

    Untrusted: it is not valid (any more). Unreachable: no answer, or no TLS.
    """
    try:
        with (
            socket.create_connection((host, port), timeout=timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            shown = secured.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        raise Untrusted(f"the certificate of {host}:{port} is not trusted: {error.verify_message}") from error
    except OSError as error:
        raise Unreachable(f"{host}:{port} shows no certificate: {error}") from error
    return float(ssl.cert_time_to_seconds(str(shown["notAfter"])))
