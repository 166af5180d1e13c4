"""New records of a topic at once, its backlog beside them."""
