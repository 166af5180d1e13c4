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
    """Write new keys for every role into `folder`.

    Refused when it has keys or a root already, Permanent when it cannot be written.
    """
    check_new(folder)
    make_folder(folder, mode=0o700)
    for role, plan in PLANS.items():
        for i in range(1, plan.keys + 1):
            replace_durably(folder / f"{role}-{i}.pem", CryptoSigner.generate_ed25519().private_bytes, mode=0o600)


def has_keys(folder: Path) -> bool:
    """Whether there is any key in `folder`; Permanent when it cannot be looked into."""
    try:
        return any(path.suffix == ".pem" for path in folder.iterdir())
    except FileNotFoundError:
        return False
    except OSError as error:
        raise file_error(error, folder) from error


def check_new(folder: Path) -> None:
    """Raise what `make_keys` would raise, and leave nothing behind."""
    check_folder(folder)
    if has_keys(folder) or (folder / ROOT_FILE).exists():
        raise Refused(f"{folder} holds keys already; they are not overwritten", hint="choose an empty folder")


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
