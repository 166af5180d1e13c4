"""What people found out later: maintenance orders and verdicts on alarms, in the compacted topic `labels`.

The key is `<site>/<asset>/<order>`, so that an order that is corrected replaces what it said before, and a null takes
it back. What an operator said of an alarm is a label too: its order is the episode, and it speaks of nothing else.
Times are sensor time in ms, both ends included.
"""

from __future__ import annotations

import msgspec

from headwater.contract.errors import BadInput
from headwater.contract.names import check_name, check_site
from headwater.contract.reading import MAX_TIME_MS

FALSE_ALARM, TRUE_ALARM = "false-alarm", "true-alarm"
FAILURE = "failure"  # that the plant said with an overhaul: a fault of its moment, and no word of any other time
NO_FAULT = ("healthy", FALSE_ALARM)  # kinds that say that there was none; every other kind names a fault


class Label(msgspec.Struct, frozen=True):
    """An asset had a fault of this kind, or none, from one time to another; `noted_at` is when that was said."""

    site: str
    asset: str
    t_from: int
    t_to: int
    kind: str
    order: str
    noted_at: int
    v: int = 1
    episode: str = ""  # that an operator's word is about; "" for an order

    def check(self) -> None:
        """Raise BadInput unless the names are names and the times are in order."""
        check_site(self.site)
        check_name(self.asset, "asset")
        check_name(self.kind, "kind of fault")
        if not self.order or len(self.order) > 200:
            raise BadInput(f"{self.order[:20]!r} is no order", hint="1 to 200 characters")
        if not 0 <= self.t_from <= self.t_to <= MAX_TIME_MS:
            raise BadInput(f"{self.t_from} to {self.t_to} ms is no span of time")

    @property
    def key(self) -> str:
        """Key of its record."""
        return f"{self.site}/{self.asset}/{self.order}"

    @property
    def asset_key(self) -> str:
        """`site/asset`."""
        return f"{self.site}/{self.asset}"

    @property
    def is_fault(self) -> bool:
        """Whether it says that there was a fault."""
        return self.kind not in NO_FAULT
