"""Which code a chapter was run with: outcomes of other code say nothing about this one."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from tests.chaos.bed import HEADWATER
from tests.chaos.parts import BRIDGE, Part

ROOT = Path(__file__).parents[2]
_ATTACK = ("tests/chaos", "lock/dev.txt")


def version(system: str, root: Path = ROOT, part: Part = BRIDGE) -> str:
    """16 hex digits of the files that are attacked and of those that attack them: their paths and what is in them."""
    found = sha256()
    for path in sorted(_files(root, (*_ATTACK, *(part.attacked if system == HEADWATER else part.rivals)))):
        found.update(f"{path.relative_to(root)}\0".encode() + sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]


def _files(root: Path, names: Iterable[str]) -> Iterable[Path]:
    for name in names:
        place = root / name
        for path in [place] if place.is_file() else place.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path
