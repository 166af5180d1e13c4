"""Whether Ray is there."""

from __future__ import annotations

import importlib.util


def has_ray() -> bool:
    """As in the environment of `make test-ray`."""
    return importlib.util.find_spec("ray") is not None
