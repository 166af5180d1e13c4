"""From a model to what made it, and from an alarm back to its records."""
