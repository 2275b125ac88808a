"""``python -m vesalius.cli`` is the command ``vesalius``."""

import sys

from vesalius.cli.app import main

sys.exit(main())
