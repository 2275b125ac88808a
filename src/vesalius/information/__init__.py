"""Which units say what about which others: mutual information of neurons, and the graph that it draws."""
