"""Signing keys as files: `<role>-<n>.pem`, ed25519 in PKCS#8, readable by their owner alone."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner

from headwater.contract.errors import BadInput, Refused
from headwater.transport.files import check_folder, file_error, make_folder, replace_durably
from headwater.transport.registry.layout import PLANS, ROOT_FILE


def make_keys(folder: Path) -> None:
    """Write a new key into `folder` for each that is missing; those that are there stay as they are.

    Refused when it has a root already, which names the keys that count; Permanent when it cannot be written.
    """
    wanted = missing_keys(folder)
    make_folder(folder, mode=0o700)
    for path in wanted:
        replace_durably(path, CryptoSigner.generate_ed25519().private_bytes, mode=0o600)


def missing_keys(folder: Path) -> list[Path]:
    """The files that `make_keys` would write; raises what it would raise, and leaves nothing behind."""
    check_folder(folder)
    paths = [folder / f"{role}-{i}.pem" for role, plan in PLANS.items() for i in range(1, plan.keys + 1)]
    try:
        if (folder / ROOT_FILE).exists():
            raise Refused(f"{folder} has a {ROOT_FILE} already", hint="choose an empty folder, or put its keys back")
        return [path for path in paths if not path.exists()]
    except OSError as error:
        raise file_error(error, folder) from error


def signers(folder: Path, role: str) -> list[CryptoSigner]:
    """The keys of `role` in `folder`, in the order of their names; Refused when there is none."""
    return list(key_files(folder, role).values())


def key_files(folder: Path, role: str) -> dict[str, CryptoSigner]:
    """The same by the names of their files."""
    paths = sorted(folder.glob(f"{role}-*.pem"))
    if not paths:
        raise Refused(
            f"no key of the role {role} in {folder} (expected {role}-1.pem)",
            hint="make keys with: headwater fleet keys init; or let the setting `keys` name their folder",
        )
    return {path.name: _load(path) for path in paths}


def _load(path: Path) -> CryptoSigner:
    try:
        return CryptoSigner(load_pem_private_key(path.read_bytes(), None))
    except OSError as error:
        raise BadInput(f"key {path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadInput(f"{path} is not a private key in PEM: {error}") from error
