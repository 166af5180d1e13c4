"""The whole loop on this machine: what it promises, counted."""
