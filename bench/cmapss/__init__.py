"""Remaining life on NASA's C-MAPSS sets, under every protocol, beside what needs no model."""
