"""Faults injected into healthy windows: what a detector is asked to find where nobody has recorded real ones.

Each window gets one fault a kind, in one channel, from a reading in its first half on; sizes are in units of the
channel's scale, drawn evenly from SIZES, so that some are plain and others hardly stand out:

- `step`: the channel stands off by the size;
- `drift`: it wanders off, to the size at the window's last reading;
- `noise`: it is noisier by the size;
- `stuck`: it keeps the value of that reading, and has no size.
"""

from __future__ import annotations

import numpy as np

from cloud_trainer.series import Floats

KINDS = ("drift", "noise", "step", "stuck")
SIZES = (0.5, 3.0)


def inject(windows: Floats, seed: int) -> dict[str, Floats]:
    """Copies of the windows [n, window, channels] by the kind of their fault; the same seed gives the same faults."""
    return {kind: _inject(windows, kind, np.random.default_rng((seed, n))) for n, kind in enumerate(KINDS)}


def _inject(windows: Floats, kind: str, rng: np.random.Generator) -> Floats:
    count, length, channels = windows.shape
    of = rng.integers(channels, size=count)
    start = rng.integers(max(1, length // 2), size=count)[:, None]
    size = (rng.uniform(*SIZES, size=count) * rng.choice((-1.0, 1.0), size=count))[:, None]
    at = np.arange(length)[None, :]
    each = np.arange(count)
    healthy = windows[each, :, of]
    if kind == "step":
        changed = healthy + size
    elif kind == "drift":
        changed = healthy + size * np.maximum(at - start + 1, 0) / (length - start)
    elif kind == "noise":
        changed = healthy + size * rng.normal(size=healthy.shape)
    else:
        changed = np.broadcast_to(np.take_along_axis(healthy, start, axis=1), healthy.shape)
    found = windows.copy()
    found[each, :, of] = np.where(at >= start, changed, healthy)
    return found
