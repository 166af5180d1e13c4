"""The wires: one outside system a module. Foreign exceptions end here."""

import sys

if "rich" not in sys.modules:
    # structlog would load rich to draw tracebacks in boxes, which no process of ours does (logs.py): 5 MB in each.
    sys.modules["rich"] = None  # type: ignore[assignment]  # how Python is told that a module is not there
    import structlog.dev  # noqa: F401  # now, while rich is not there

    del sys.modules["rich"]
