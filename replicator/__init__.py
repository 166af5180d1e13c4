"""The road between two clusters."""
