"""From an exact range of the log to a published model."""
