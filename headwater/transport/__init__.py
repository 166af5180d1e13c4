"""The wires: one outside system a module. Foreign exceptions end here."""
