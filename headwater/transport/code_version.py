"""Which code this is: version, commit where it runs from a git checkout, and a digest of the sources themselves.

The digest tells a changed checkout from its commit, and needs no git: it is the SHA-256 over the path and content of
every Python file of the packages that decide what a model is, sorted by path.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import re
from pathlib import Path

from headwater import __version__

PACKAGES = ("cloud_trainer", "headwater.contract", "headwater.transport.recordings", "headwater.transport.tflite")
_COMMIT = re.compile(r"[0-9a-f]{40,64}")


@functools.cache
def code_version() -> dict[str, str]:
    """`version`, `sources` (SHA-256 in hex), and `commit` where there is one."""
    found = {"version": __version__, "sources": _sources()}
    commit = _commit(Path(__file__).parents[2])
    return {**found, "commit": commit} if commit else found


def said(code: dict[str, str]) -> str:
    """A line for people; of a model that is older than this, that it does not say."""
    if not code:
        return "not recorded"
    commit = f", commit {code['commit'][:12]}" if "commit" in code else ""
    return f"headwater {code.get('version', '?')}{commit}, sources sha256 {code.get('sources', '?')[:16]}"


def _sources() -> str:
    digest = hashlib.sha256()
    for path, name in sorted((path, name) for package in PACKAGES for path, name in _files(package)):
        data = path.read_bytes()
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()


def _files(module: str) -> list[tuple[Path, str]]:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return []
    origin = Path(spec.origin)
    if origin.name != "__init__.py":
        return [(origin, module)]
    return [(path, f"{module}/{path.relative_to(origin.parent).as_posix()}") for path in origin.parent.rglob("*.py")]


def _commit(root: Path) -> str:
    """The commit that a checkout is at, read from its files (gitrepository-layout(5)); "" where there is none."""
    folder = root / ".git"
    if folder.is_file():  # a work tree beside its repository
        folder = Path(root, folder.read_text().removeprefix("gitdir:").strip())
    head = _text(folder / "HEAD")
    if not head.startswith("ref:"):
        return head if _COMMIT.fullmatch(head) else ""
    name = head.removeprefix("ref:").strip()
    common = Path(folder, _text(folder / "commondir") or ".")
    for place in (folder, common):
        if _COMMIT.fullmatch(_text(place / name)):
            return _text(place / name)
    packed = (line.split() for line in _text(common / "packed-refs").splitlines())
    return next((parts[0] for parts in packed if len(parts) == 2 and parts[1] == name), "")


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
