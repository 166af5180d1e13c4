"""The road to the target: lanes on it, how much of it is used, and what it may cost."""
