"""Detectors compete for an asset class: the best on healthy readings and injected faults that none has seen ships."""
