"""How fast a model is made anew: for one asset from a message to its first score, and for a thousand sites at once."""
