"""Labels that arrive late: read, stored, joined with alarms by asset and time."""
