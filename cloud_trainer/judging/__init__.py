"""Champion against challenger on the same readings, and what is decided by it."""
