"""Runs `headwater doctor` as its user does, and the broken services that it is shown."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from headwater.transport.objects import MemoryStore
from headwater.transport.registry.repository import init_repository

Findings = dict[str, dict[str, Any]]


def doctor(folder: Path, *arguments: str, **variables: str) -> tuple[int, Findings, str]:
    """Exit code, findings by check, and what stands on standard error."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}
    done = subprocess.run(
        [sys.executable, "-m", "headwater", "doctor", *arguments, "--json"],
        cwd=folder,
        env=kept | {"HEADWATER_HOME": str(folder / "home")} | variables,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    findings = json.loads(done.stdout)["findings"] if done.stdout else []
    return done.returncode, {finding["check"]: finding for finding in findings}, done.stderr


def make_trust(folder: Path) -> Path:
    """A fleet's keys in `folder/keys`; its root.json."""
    init_repository(MemoryStore(), folder / "keys")
    return folder / "keys/root.json"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def await_port(port: int) -> None:
    """Wait until somebody listens."""
    until = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.02)
        else:
            return


@contextmanager
def running_mosquitto(program: Path, folder: Path, configuration: str) -> Iterator[int]:
    """A Mosquitto with these lines of configuration after its listener; its port."""
    port = free_port()
    user = "user root\n" if os.geteuid() == 0 else ""
    file = folder / "mosquitto.conf"
    file.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n{user}{configuration}")
    broker = subprocess.Popen([program, "-c", file], stderr=subprocess.DEVNULL)
    try:
        await_port(port)
        yield port
    finally:
        broker.kill()
        broker.wait()


def write_certificate(folder: Path, days: float) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself and ends in `days`, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    built = built.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(days=days))
    signed = built.add_extension(names, critical=False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(signed.public_bytes(pem))
    private.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    return certificate, private
