"""A local page on which one model, or two side by side, are asked about samples that can be changed."""

from vesalius.explorer.explore import Explorer, ExplorerOptions, explore

__all__ = ["Explorer", "ExplorerOptions", "explore"]
