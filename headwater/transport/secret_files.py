"""Secrets as files of the folder that HEADWATER_SECRETS names: `edge__kafka__password` is edge.kafka.password."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from headwater.contract.errors import BadSetting

_ALIKE = 0.8  # of difflib: `edge_kafka_password` and the like, not `ca.pem`


def read_secrets(section: str, dotted: Collection[str], sections: Collection[str]) -> dict[str, Any]:
    """The values of a part, nested as its settings are; {} where no folder is named.

    BadSetting when the folder or a file cannot be read, and for a file that was meant as a setting and is none: it
    begins with a section, misspelt or not, or is nearly the name of one. Hidden files, other sections' and what else
    lies there (a certificate, another program's secret) are let be.
    """
    named = os.environ.get("HEADWATER_SECRETS")
    if not named:
        return {}
    known = {name.replace(".", "__"): name for name in dotted}
    values: dict[str, Any] = {}
    for path in _listed(Path(named)):
        if path.name in known:
            *inside, last = known[path.name].split(".")[1:]
            inner = values
            for name in inside:
                inner = inner.setdefault(name, {})
            inner[last] = _text(path)
        else:
            _refuse_misspelt(path, known, section, sections)
    return values


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and not path.is_dir())
    except OSError as error:
        hint = "correct it, or unset it where there are no secrets in files"
        raise BadSetting(
            f"HEADWATER_SECRETS names {folder}, which cannot be read: {error.strerror}", hint=hint
        ) from error


def _refuse_misspelt(path: Path, known: Collection[str], section: str, sections: Collection[str]) -> None:
    name = path.name.lower()
    first, divided, _ = name.partition("__")
    if divided and first != section and first in sections and path.name == name:
        return
    near = difflib.get_close_matches(name, known, n=1, cutoff=_ALIKE)
    if near or (divided and difflib.get_close_matches(first, sections, n=1)):
        guess = near or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        raise BadSetting(
            f"the secret {path} is not a setting of Headwater",
            hint=f"did you mean {guess[0]}?" if guess else "see docs/settings.md for all of them",
        )


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise BadSetting(f"the secret {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:  # its text shows what it failed on
        raise BadSetting(f"the secret {path} is not UTF-8 text") from None
