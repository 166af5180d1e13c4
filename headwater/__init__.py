"""Headwater: sensor readings from plants to a cloud, and signed models back."""

__version__ = "0.1.0"
