"""Which topics ship what is new before their backlog."""

from __future__ import annotations

from fnmatch import fnmatchcase

from pydantic import BaseModel, ConfigDict, Field


class FreshSettings(BaseModel):
    """Topics whose new records do not wait behind a backlog, which goes to `<site>.<topic>.backlog` beside them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topics: tuple[str, ...] = Field(
        default=(), description="topics by their names at the site, * is any text; compacted ones are left as they are"
    )
    after_s: float = Field(
        default=60.0,
        gt=0,
        le=2_592_000,
        description="age of the oldest record that waits, from which on the new ones go first",
    )

    def has(self, topic: str) -> bool:
        """Whether a topic ships what is new first."""
        return any(fnmatchcase(topic, pattern) for pattern in self.topics)
