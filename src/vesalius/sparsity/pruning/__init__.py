"""How links are chosen, cut, and what is left refitted."""
