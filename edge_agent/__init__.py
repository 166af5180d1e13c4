"""One box in a plant: bridge, scorer, updater, and the supervisor that runs them."""
