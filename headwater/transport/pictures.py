"""Drawing with matplotlib, without a display, as PNG: the same data gives the same bytes under the same version."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from headwater.contract.errors import BadInput

try:
    import matplotlib as mpl

    mpl.use("Agg")  # before pyplot: no display
    import matplotlib.pyplot as plt
except ImportError as error:
    raise BadInput("plots need matplotlib, which is not installed", hint="pip install 'headwater[report]'") from error

BLUE, ORANGE, RED, GREEN, GREY = "#2f6f9f", "#d9822b", "#c23b3b", "#3c8d53", "#8a8f98"
_DOTS_PER_INCH = 110


def png(draw: Callable[[Any, list[Any]], None], *, rows: int = 1, width: float = 9.0, height: float = 2.6) -> bytes:
    """A picture of `rows` axes one below the other, each `height` inches; `draw` gets the figure and its axes."""
    with plt.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(rows, 1, figsize=(width, height * rows + 0.4), squeeze=False)
        draw(figure, [row[0] for row in axes])
        figure.tight_layout()
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
        plt.close(figure)
    return buffer.getvalue()
