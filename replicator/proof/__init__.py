"""What a link proves about what it shipped, and what is checked by that."""
