"""Signing keys as files: `<role>-<n>.pem`, ed25519 in PKCS#8, readable by their owner alone."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner

from headwater.contract.errors import BadInput, Refused
from headwater.transport.files import replace_durably
from headwater.transport.registry.layout import PLANS, ROOT_FILE


def make_keys(folder: Path) -> None:
    """Write new keys for every role into `folder`; Refused when it has keys or a root already."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.glob("*.pem")) or (folder / ROOT_FILE).exists():
        raise Refused(f"{folder} holds keys already; they are not overwritten", hint="choose an empty folder")
    for role, plan in PLANS.items():
        for i in range(1, plan.keys + 1):
            replace_durably(folder / f"{role}-{i}.pem", CryptoSigner.generate_ed25519().private_bytes, mode=0o600)


def signers(folder: Path, role: str) -> list[CryptoSigner]:
    """The keys of `role` in `folder`, in the order of their names; Refused when there is none."""
    paths = sorted(folder.glob(f"{role}-*.pem"))
    if not paths:
        raise Refused(
            f"no key of the role {role} in {folder} (expected {role}-1.pem)",
            hint="make keys with: headwater fleet keys init; or let the setting `keys` name their folder",
        )
    return [_load(path) for path in paths]


def _load(path: Path) -> CryptoSigner:
    try:
        return CryptoSigner(load_pem_private_key(path.read_bytes(), None))
    except OSError as error:
        raise BadInput(f"key {path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadInput(f"{path} is not a private key in PEM: {error}") from error
