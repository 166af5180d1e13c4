"""Whether the readings of the plants are still those that a model was trained on."""
