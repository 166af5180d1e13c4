"""Rules for records: which of a topic are shipped, and what is changed in them."""
