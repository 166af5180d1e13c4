"""Where something is in a message: `a.b[0].c`.

A word is a key, a number in brackets an index (from the end when negative), `["a.b"]` a key with other characters.
A path is followed from the sample; one that begins with `$` from the whole message. The empty path is the sample
itself.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

MAX_STEPS = 32

_STEP = re.compile(r"""(?:^|\.)(?P<word>[^.\[\]"$]+)|\[(?P<index>-?\d{1,6})\]|\["(?P<quoted>[^"]+)"\]""")

Step = str | int


class Path(NamedTuple):
    """A path that was read; `text` is how it was written."""

    text: str
    steps: tuple[Step, ...]
    from_message: bool = False

    def find(self, message: Any, sample: Any) -> Any:
        """What is there, or None where there is nothing."""
        here = message if self.from_message else sample
        for step in self.steps:
            if type(here) is dict:
                here = here.get(step)
            elif type(here) is list and type(step) is int and -len(here) <= step < len(here):
                here = here[step]
            else:
                return None
        return here


def parse(text: str) -> Path:
    """The path in a text; ValueError says in words what is wrong with it."""
    rest = text[1:].removeprefix(".") if text.startswith("$") else text
    steps: list[Step] = []
    at = 0
    while at < len(rest):
        match = _STEP.match(rest, at)
        if match is None:
            raise ValueError(f'{text!r} is no path from {rest[at:]!r} on: paths look like a.b[0].c or a["b.c"]')
        steps.append(int(match["index"]) if match["index"] else match["word"] or match["quoted"])
        at = match.end()
    if len(steps) > MAX_STEPS:
        raise ValueError(f"the path {text[:80]!r} has {len(steps)} steps, at most {MAX_STEPS} are followed")
    return Path(text, tuple(steps), text.startswith("$"))
