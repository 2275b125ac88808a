"""The command ``vesalius``: parsing, and what becomes of errors.

Exit codes: 0 done, 1 an error of our own, 2 something the user can mend, 130 stopped by the user.
"""

from __future__ import annotations

import io
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from importlib import import_module
from pathlib import Path

import tyro

from vesalius.cli.demo import Demo
from vesalius.cli.explain import Explain
from vesalius.cli.gallery import Gallery
from vesalius.cli.sparsify import Sparsify
from vesalius.core.errors import VesaliusError
from vesalius.core.version import VERSION
from vesalius.workflow.progress import say

ABOUT = """Vesalius shows what the decisions of a PyTorch model rest on, in numbers that add up.

examples:
  vesalius demo
  vesalius gallery --out gallery
  vesalius explain net.py:model flowers.csv --label species --out report
  vesalius explain net.py:model digits.npz --weights net.safetensors --rows 0:16 --baseline mean --out report
  vesalius explain torchvision.models:resnet18 photos/ --weights resnet18.pt --size 224 --methods integrated_gradients --out report
  vesalius sparsify net.py:autoencoder train.npz --sparsity 0.9 --test test.npz --shape 28,28 --out small
  vesalius --version
"""

Options = Explain | Demo | Gallery | Sparsify
COMMANDS: dict[str, tuple[type[Options], str]] = {
    "explain": (Explain, "vesalius.cli.commands:explain"),
    "demo": (Demo, "vesalius.cli.commands:demo"),
    "gallery": (Gallery, "vesalius.cli.commands:gallery"),
    "sparsify": (Sparsify, "vesalius.cli.commands:sparsify"),
}
"""The words of each command, and what runs it, by name: the parser and its help are not to wait for torch."""
PARSER_CONFIG = (tyro.conf.DisallowNone, tyro.conf.PositionalMetavarFromFieldName)
BOX_CHARACTERS = "\N{BOX DRAWINGS LIGHT VERTICAL}\N{BOX DRAWINGS LIGHT HORIZONTAL} "
"""What the parser draws around each line of its messages."""

HELP_HINTS = re.compile(r"For full helptext|Argument helptext|Perhaps you meant|Similar|Full helptext")
"""Where the parser's messages begin to repeat the help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: the words after ``vesalius``; those of the process by default.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["--version"]:
        print(f"vesalius {VERSION}")
        return 0
    try:
        options = _parse(words or ["--help"])
        if options is None:
            return 0
        page = _run(options, words)
    except (VesaliusError, OSError) as error:
        return _report_failure(2, " ".join(str(error).split()))
    except KeyboardInterrupt:
        return _report_failure(130, "stopped; what was finished is kept, and the same command goes on from there")
    except Exception as error:
        traceback.print_exc()
        return _report_failure(
            1, f"unexpected {type(error).__name__}: {' '.join(str(error).split())}; a fault of vesalius, please report it"
        )
    print(page)
    return 0


def _run(options: Options, words: Sequence[str]) -> Path:
    module, function = next(target for kind, target in COMMANDS.values() if isinstance(options, kind)).split(":")
    command: Callable[[Options, str], Path] = getattr(import_module(module), function)
    return command(options, shlex.join(["vesalius", *words]))


def _parse(words: Sequence[str]) -> Options | None:
    """Options from words; ``None`` when only help was asked for.

    Raises:
        BadWords: they cannot be understood.
    """
    complaint = io.StringIO()
    try:
        with redirect_stderr(complaint):
            kinds: dict[str, Callable[..., Options]] = {name: kind for name, (kind, _) in COMMANDS.items()}
            options: Options = tyro.extras.subcommand_cli_from_dict(
                kinds, args=list(words), prog="vesalius", description=ABOUT, config=PARSER_CONFIG
            )
            return options
    except SystemExit as stop:
        if not stop.code:
            return None
        inside = " ".join(line.strip(BOX_CHARACTERS) for line in complaint.getvalue().splitlines() if line[:1] in BOX_CHARACTERS)
        about = f"vesalius {words[0]} --help" if words[0] in COMMANDS else "vesalius --help"
        raise BadArguments(f"{HELP_HINTS.split(inside or complaint.getvalue())[0].strip()}; see {about}") from None


class BadArguments(VesaliusError, ValueError):
    """Words of the command line that cannot be understood."""


def _report_failure(code: int, text: str) -> int:
    say(f"vesalius: {text}")
    return code
