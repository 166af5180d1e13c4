"""Remaining useful life: how many cycles of work an asset has before it fails."""
