"""Whether the root of trust and the keys that a part needs are there, whole, and kept from others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headwater.app.doctor.finding import Finding, attempt, good, warning

KEYS = {"trainer": ("models", "snapshot", "timestamp"), "fleet": ("rollout", "snapshot", "timestamp")}
_ANOTHER_ROOT = "copy root.json here from where `headwater fleet keys init` was run"


def check_trust(part: str, settings: Any) -> list[Finding]:
    """The edge's root.json, the trainer's and the fleet's keys; nothing for parts that trust and sign nothing."""
    if part == "edge":
        path = settings.updater.root_file or settings.folder / "root.json"
        check = "edge.updater.root_file"
        return [attempt(check, lambda: _root(check, path), _ANOTHER_ROOT)]
    if part not in KEYS:
        return []
    check, folder = f"{part}.keys", settings.keys
    return [
        attempt(check, lambda: _keys(check, folder, KEYS[part]), f"let {check} name the folder of the fleet's keys")
    ]


def _root(check: str, path: Path) -> Finding:
    from headwater.transport.registry.inspection import look_at_root  # noqa: PLC0415  # cryptography is slow to load

    root = look_at_root(path)
    return good(check, f"{path} is a root of trust, version {root.version}, that its own keys signed")


def _keys(check: str, folder: Path, roles: tuple[str, ...]) -> Finding:
    from headwater.transport.registry.inspection import (  # noqa: PLC0415  # cryptography is slow to load
        look_at_keys,
        seen_by_others,
    )

    look_at_keys(folder, roles)
    names = f"{', '.join(roles[:-1])} and {roles[-1]}"
    shown = seen_by_others(folder)
    if shown:
        says = f"{folder} has the keys of {names}, and any user of this machine may read {shown[0].name}"
        return warning(check, says, f"chmod 700 {folder}; chmod 600 {folder}/*.pem")
    return good(check, f"{folder} has root.json and the keys of {names}, which no other user may read")
