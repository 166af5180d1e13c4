"""The scorer: windows of readings go through the model in charge, out come scores and alarms, each exactly once."""
