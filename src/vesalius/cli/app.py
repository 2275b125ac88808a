"""The command ``vesalius``: parsing, and what becomes of errors.

Exit codes: 0 done, 1 an error of our own, 2 something the user can mend, 130 stopped by the user.
"""

from __future__ import annotations

import io
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from importlib import import_module
from pathlib import Path

import tyro

from vesalius.cli.demo import Demo
from vesalius.cli.explain import Explain
from vesalius.cli.explore import Explore
from vesalius.cli.gallery import Gallery
from vesalius.cli.sparsify import Sparsify
from vesalius.cli.survey import SurveyWords
from vesalius.core.errors import VesaliusError
from vesalius.core.progress import say
from vesalius.core.version import VERSION
from vesalius.workflow.folder import check_output_folder

ABOUT = """Vesalius shows what the decisions of a PyTorch model rest on, in numbers that add up.

examples:
  vesalius demo
  vesalius gallery --out gallery
  vesalius explain net.py:model flowers.csv --label species --out report
  vesalius explain net.py:model digits.npz --weights net.safetensors --rows 0:16 --baseline mean --out report
  vesalius explain torchvision.models:resnet18 photos/ --weights resnet18.pt --resize 256 --crop 224 --normalize imagenet --out report
  vesalius explain net.py:classifier reviews.csv --text review --label mood --tokenizer tokenizer.json --out report
  vesalius sparsify net.py:autoencoder train.npz --sparsity 0.9 --test test.npz --shape 28,28 --out small
  vesalius survey net.py:model digits.npz --weights net.safetensors --out survey
  vesalius explore net.py:model digits.npz --weights net.safetensors
  vesalius --version
"""

Options = Explain | Demo | Explore | Gallery | Sparsify | SurveyWords
COMMANDS: dict[str, tuple[type[Options], str]] = {
    "explain": (Explain, "vesalius.cli.commands:explain"),
    "demo": (Demo, "vesalius.cli.commands:demo"),
    "gallery": (Gallery, "vesalius.cli.commands:gallery"),
    "sparsify": (Sparsify, "vesalius.cli.commands:sparsify"),
    "survey": (SurveyWords, "vesalius.cli.commands:survey"),
    "explore": (Explore, "vesalius.cli.commands:explore"),
}
"""The words of each command, and what runs it, by name: the parser and its help are not to wait for torch."""
PARSER_CONFIG = (tyro.conf.DisallowNone, tyro.conf.PositionalMetavarFromFieldName)
BOX_CHARACTERS = "\N{BOX DRAWINGS LIGHT VERTICAL}\N{BOX DRAWINGS LIGHT HORIZONTAL} "
"""What the parser draws around each line of its messages."""

RESULTS = ("*.safetensors", "*/*.safetensors", "*.html", "*.pt2", "*.onnx")
"""What a command leaves in its folder when it is done with a part of its work."""
MAX_FILES_SHOWN = 6
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
    options, before = None, {}
    try:
        options = _parse(words or ["--help"])
        if options is None:
            return 0
        if not isinstance(options, Explore):
            check_output_folder(options.out)
            before = written(options.out)
        print(_run(options, words))
        return 0
    except (VesaliusError, OSError) as error:
        return _report_failure(2, " ".join(str(error).split()))
    except KeyboardInterrupt:
        return _report_failure(130, describe_stop(options, before))
    except Exception as error:
        told = " ".join(str(error).split())
        if isinstance(error, MemoryError) or "allocate memory" in told:
            return _report_failure(2, f"the memory is full ({told or 'no more of it'}); give fewer rows, or smaller ones")
        traceback.print_exc()
        return _report_failure(1, f"unexpected {type(error).__name__}: {told}; a fault of vesalius, please report it")


def _run(options: Options, words: Sequence[str]) -> Path | str:
    module, function = next(target for kind, target in COMMANDS.values() if isinstance(options, kind)).split(":")
    command: Callable[[Options, str], Path | str] = getattr(import_module(module), function)
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


def written(out: Path) -> dict[Path, tuple[int, int]]:
    """Results and pages in a folder and its subfolders, and what tells a file from the one that takes its place."""
    files = [file for pattern in RESULTS for file in out.glob(pattern)] if out.is_dir() else []
    return {file: (found.st_ino, found.st_mtime_ns) for file in files if (found := file.stat(follow_symlinks=False))}


def describe_stop(options: Options | None, before: Mapping[Path, tuple[int, int]]) -> str:
    """What is left of a command that was stopped.

    Args:
        options: of the command; ``None`` if it had not begun.
        before: what was in its folder at the beginning, as :func:`written` has it.
    """
    if options is None or isinstance(options, Explore):
        return "stopped before anything was done"
    new = sorted(file for file, mark in written(options.out).items() if before.get(file) != mark)
    pages = [file for file in new if file.suffix == ".html" and file.parent == options.out]
    if pages:
        return f"stopped when everything was done; the page is {pages[0]}"
    if not new:
        return f"stopped; nothing was finished in {options.out} since this command began, and it begins there again"
    names = ", ".join(str(file.relative_to(options.out)) for file in new[:MAX_FILES_SHOWN]) + ", ..." * (len(new) > MAX_FILES_SHOWN)
    if isinstance(options, Sparsify):
        return f"stopped before everything was written; {names} in {options.out} is whole, and the same command does all of it again"
    return f"stopped; {names} in {options.out} is finished and kept, and the same command goes on from there"


class BadArguments(VesaliusError, ValueError):
    """Words of the command line that cannot be understood."""


def _report_failure(code: int, text: str) -> int:
    say(f"vesalius: {text}")
    return code
