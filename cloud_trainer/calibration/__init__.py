"""What is healthy, in numbers: limits of a machine, and the margin that a false-alarm budget asks for."""
