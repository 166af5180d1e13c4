"""The keys in a folder, held against those that a repository knows."""

from __future__ import annotations

from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Root, Targets

from headwater.contract.errors import Untrusted
from headwater.contract.refusals import BAD_SIGNATURE
from headwater.transport.registry.keys import key_files


class Ring:
    """The keys in a folder, of which only those sign that a repository knows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._found: dict[str, dict[str, CryptoSigner]] = {}

    def load(self, role: str) -> None:
        """Read the keys of a role; Refused when there is none, BadInput when one cannot be read."""
        if role not in self._found:
            self._found[role] = key_files(self.folder, role)

    def signers(self, role: str, delegator: Root | Targets) -> list[CryptoSigner]:
        """As many keys as must sign `role`; Untrusted names the files when those in the folder may not."""
        self.load(role)
        try:
            named = delegator.get_delegated_role(role)
        except ValueError as error:
            raise Untrusted(f"nobody may sign {role} in that repository: {error}", reason=BAD_SIGNATURE) from error
        found = self._found[role]
        able = [signer for signer in found.values() if signer.public_key.keyid in named.keyids]
        if len(able) >= named.threshold:
            return able[: named.threshold]
        wrong = [name for name, signer in found.items() if signer.public_key.keyid not in named.keyids]
        files = ", ".join(str(self.folder / name) for name in wrong or found)
        told = f"{files}: not a key of the role {role} of that repository" if wrong else f"{files}: too few keys"
        raise Untrusted(
            f"{told}; {named.threshold} must sign",
            hint="nothing was written; let the setting `keys` name the folder that this repository was made with",
            reason=BAD_SIGNATURE,
        )
