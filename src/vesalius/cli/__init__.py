"""The command line: words to options, files to models and data, and a call of the workflow."""

from vesalius.cli.app import main

__all__ = ["main"]
