"""How Shapley values of links are estimated."""
