"""The forms in which a pruned network is stored and run."""
