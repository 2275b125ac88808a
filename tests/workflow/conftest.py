"""The files and commands of the tests of the command line."""

from tests.cli.conftest import explain, home, vesalius

__all__ = ["explain", "home", "vesalius"]
