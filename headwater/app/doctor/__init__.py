"""Checks of the installation and of each configured service, in words."""
