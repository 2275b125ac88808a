"""The command ``vesalius``: parsing, and what becomes of errors.

Exit codes: 0 done, 1 an error of our own, 2 something the user can mend, 130 stopped by the user.
"""

from __future__ import annotations

import io
import re
import shlex
import sys
import traceback
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Annotated

import tyro

from vesalius.cli.demo import Demo, demo
from vesalius.cli.explain import Explain, explain
from vesalius.cli.gallery import Gallery, gallery
from vesalius.cli.progress import say
from vesalius.cli.sparsify import Sparsify, thin
from vesalius.core.errors import VesaliusError
from vesalius.core.version import VERSION

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

Command = (
    Annotated[Explain, tyro.conf.subcommand("explain", prefix_name=False)]
    | Annotated[Demo, tyro.conf.subcommand("demo", prefix_name=False)]
    | Annotated[Gallery, tyro.conf.subcommand("gallery", prefix_name=False)]
    | Annotated[Sparsify, tyro.conf.subcommand("sparsify", prefix_name=False)]
)
Options = Explain | Demo | Gallery | Sparsify
PLAIN = (tyro.conf.DisallowNone, tyro.conf.PositionalMetavarFromFieldName)
FRAME = "\N{BOX DRAWINGS LIGHT VERTICAL}\N{BOX DRAWINGS LIGHT HORIZONTAL} "
"""What the parser draws around each line of its messages."""

ENOUGH = re.compile(r"For full helptext|Argument helptext|Perhaps you meant|Similar|Full helptext")
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
        return _failed(2, " ".join(str(error).split()))
    except KeyboardInterrupt:
        return _failed(130, "stopped; what was finished is kept, and the same command goes on from there")
    except Exception as error:
        traceback.print_exc()
        return _failed(1, f"unexpected {type(error).__name__}: {' '.join(str(error).split())}; a fault of vesalius, please report it")
    print(page)
    return 0


def _run(options: Options, words: Sequence[str]) -> Path:
    if isinstance(options, Explain):
        return explain(options, shlex.join(["vesalius", *words]))
    if isinstance(options, Sparsify):
        return thin(options, shlex.join(["vesalius", *words]))
    return demo(options) if isinstance(options, Demo) else gallery(options)


def _parse(words: Sequence[str]) -> Options | None:
    """Options from words; ``None`` when only help was asked for.

    Raises:
        BadWords: they cannot be understood.
    """
    complaint = io.StringIO()
    try:
        with redirect_stderr(complaint):
            options: Options = tyro.cli(Command, args=list(words), prog="vesalius", description=ABOUT, config=PLAIN)
            return options
    except SystemExit as stop:
        if not stop.code:
            return None
        inside = " ".join(line.strip(FRAME) for line in complaint.getvalue().splitlines() if line[:1] in FRAME)
        about = f"vesalius {words[0]} --help" if words[0] in ("explain", "demo", "gallery", "sparsify") else "vesalius --help"
        raise BadWords(f"{ENOUGH.split(inside or complaint.getvalue())[0].strip()}; see {about}") from None


class BadWords(VesaliusError, ValueError):
    """Words of the command line that cannot be understood."""


def _failed(code: int, text: str) -> int:
    say(f"vesalius: {text}")
    return code
