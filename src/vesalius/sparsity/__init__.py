"""Which links and units a network needs, and what is left if the rest go."""
