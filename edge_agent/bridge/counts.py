"""What became of every message.

received + resumed = written + recognised + dead-lettered + filtered + dropped + waiting, at every instant. `resumed` is
what waited in the spool when this life began; without a spool it is 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields


@dataclass
class Counts:
    """Messages of this life. `waiting` is counted by what is really held, not as a remainder."""

    received: int = field(default=0, metadata={"help": "Messages that arrived, redeliveries included."})
    resumed: int = field(default=0, metadata={"help": "Messages that waited in the spool when this life began."})
    written: int = field(default=0, metadata={"help": "Messages that Kafka has acknowledged in readings."})
    recognised: int = field(default=0, metadata={"help": "Redeliveries of messages that were taken in before."})
    dead_lettered: int = field(default=0, metadata={"help": "Messages that Kafka has acknowledged in dead-letters."})
    filtered: int = field(default=0, metadata={"help": "Messages without anything to write, as their decoder says."})
    dropped: int = field(
        default=0, metadata={"help": "Messages that a full spool gave up, as its policy says, or that its disk lost."}
    )
    possible_duplicates: int = field(
        default=0, metadata={"help": "Of the written: could not be told from one written before; flagged."}
    )
    waiting: int = field(default=0, metadata={"help": "Messages held for Kafka now, in memory and in the spool."})

    @property
    def settled(self) -> int:
        """Messages that need nothing more."""
        return self.written + self.recognised + self.dead_lettered + self.filtered + self.dropped

    @property
    def balanced(self) -> bool:
        """Whether every message is accounted for."""
        return self.received + self.resumed == self.settled + self.waiting

    def add(self, other: Counts) -> None:
        """Go on from what was counted elsewhere."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def as_dict(self) -> dict[str, int]:
        """Name and value of each."""
        return {each.name: getattr(self, each.name) for each in fields(self)}
