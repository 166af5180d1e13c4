"""How many alarms come from machines in which nothing is wrong, and what is still found."""
