"""How a link is watched and steered."""
