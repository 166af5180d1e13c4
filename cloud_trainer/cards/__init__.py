"""Model cards: what a model is, what it was seen to do, and what it cannot see."""
