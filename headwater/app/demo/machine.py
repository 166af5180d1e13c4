"""What figures were counted on."""

from __future__ import annotations

import os
import platform


def machine() -> dict[str, object]:
    """System, cores that this process may use, and the load over 1, 5 and 15 minutes: a busy machine is slower."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load": [round(each, 2) for each in os.getloadavg()],
    }
