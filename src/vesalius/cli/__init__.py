"""The command line: words to options, options to methods, results to a page."""

from vesalius.cli.app import main

__all__ = ["main"]
