"""Tables in plain text."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def bytes_text(size: float) -> str:
    """A number of bytes with three digits or so: 1,234 B, 12.3 kB, 4.56 GB (powers of ten, as links are sold)."""
    if size < 10_000:
        return f"{size:,.0f} B"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 10_000 or unit == "GB":
            return f"{size:,.1f} {unit}"
    return f"{size:,.0f}"


def span_text(seconds: float) -> str:
    """A span of time: 4.2 s, 12 min, 3 h 20 min, 12 days."""
    if seconds < 90:
        return f"{seconds:,.1f} s"
    if seconds < 5_400:
        return f"{seconds / 60:,.0f} min"
    if seconds < 172_800:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
    return f"{seconds / 86_400:,.0f} days"
