"""Keys, rollouts and their gates."""
