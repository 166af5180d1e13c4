"""`python -m bench.link CONDITIONS`."""

from __future__ import annotations

import asyncio
import sys

import msgspec

from bench.link.road import Conditions
from bench.link.running import serve

if __name__ == "__main__":
    asyncio.run(serve(msgspec.json.decode(sys.argv[1], type=Conditions)))
