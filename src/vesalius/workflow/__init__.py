"""The main jobs as library calls: from a model and data to results, files and a page."""
