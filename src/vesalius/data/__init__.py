"""Data sets, generators with known truth, and two small trained networks."""

from vesalius.data.datasets import DATASETS, Dataset, load
from vesalius.data.download import MissingData

__all__ = ["DATASETS", "Dataset", "MissingData", "load"]
