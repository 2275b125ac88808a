"""``vesalius gallery``: every method on the same digits, pictures, sentence and table row, on one page."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vesalius.cli.explain import parse_methods
from vesalius.core import store
from vesalius.core.errors import InvalidInput, UnknownName, VesaliusError
from vesalius.data.download import MissingData
from vesalius.methods import METHODS, Method
from vesalius.views.gallery import Exhibit, MethodAnswer, adds_up, missing_section, overview_section
from vesalius.views.report import report
from vesalius.views.style import method_name, pluralize
from vesalius.workflow.gallery_examples import EXAMPLES, Example
from vesalius.workflow.method_runs import options_of, run_methods
from vesalius.workflow.progress import say


@dataclass(frozen=True, kw_only=True)
class GalleryOptions:
    """Explain the same few inputs by every method, and write a page. Examples whose files are not here are left out."""

    out: Path = Path("vesalius-gallery")
    """Folder to write to. What is finished there is not computed again."""
    methods: tuple[str, ...] = ()
    """Methods to show, in order; all of them by default."""
    examples: tuple[str, ...] = ()
    """Inputs to show: digit, misread, picture, mistaken, photo, sentence, row; all of them by default."""
    cache: Path | None = None
    """Folder in which trained networks are kept; the user's cache by default."""


def gallery(options: GalleryOptions) -> Path:
    """Run the command; returns the page."""
    methods = parse_methods(options.methods or tuple(METHODS))
    names = [name for words in options.examples for name in words.split(",") if name] or list(EXAMPLES)
    for name in names:
        if name not in EXAMPLES:
            raise UnknownName("example", name, EXAMPLES)
    began = time.monotonic()
    exhibits: list[Exhibit] = []
    missing: list[tuple[str, str]] = []
    for name in dict.fromkeys(names):
        try:
            example = EXAMPLES[name](options.cache)
        except MissingData as error:
            say(f"{name} is left out: {error}")
            missing.append((name, str(error)))
            continue
        exhibits.append(make_exhibit(example, methods, options.out / name))
    if not exhibits:
        raise InvalidInput(f"there is nothing to show: {'; '.join(reason for _, reason in missing)}")
    return _write_page(options, methods, exhibits, missing, time.monotonic() - began)


def make_exhibit(example: Example, methods: Sequence[str], folder: Path) -> Exhibit:
    """An example with the answers of all methods, which are kept in the folder."""
    say(f"{example.heading}: {example.outcome.text}")
    return Exhibit(
        heading=example.heading,
        model=example.model,
        outcome=example.outcome,
        target=example.target,
        baseline=example.job.baseline,
        unit=example.job.unit,
        answers=tuple(_answer(example, name, folder) for name in methods),
        picture=example.picture,
        words=example.words,
        columns=example.columns,
        parts=example.parts,
    )


def _answer(example: Example, name: str, folder: Path) -> MethodAnswer:
    try:
        done = run_methods(example.job, [_make_method(name, example)], folder)[0]
    except VesaliusError as error:
        sentence = " ".join(str(error).split())
        say(f"{name} refuses: {sentence}")
        return MethodAnswer(method=name, refusal=sentence)
    return MethodAnswer(method=name, allocation=done.allocation[0])


def _make_method(name: str, example: Example) -> Method:
    """A method with those of the example's options that it has."""
    known = options_of(METHODS[name])
    make: Callable[..., Method] = METHODS[name]
    return make(**{option: value for option, value in example.options.items() if option in known})


def _write_page(
    options: GalleryOptions, methods: Sequence[str], exhibits: list[Exhibit], missing: list[tuple[str, str]], seconds: float
) -> Path:
    whole = [name for name in methods if all(adds_up(_answer_of(exhibit, name)) for exhibit in exhibits)]
    title = f"{len(whole)} of {pluralize(len(methods), 'method')} are complete on every one of {pluralize(len(exhibits), 'input')}"
    lead = (
        "Every method on the same inputs, asked about the same score and given the same baseline. Red raised the score, blue lowered it. "
        "Each map has a colour scale of its own, whose end stands beside it: compare places between methods, not strength of colour. "
        "A method that refuses says why."
    )
    facts = {"made in": f"{seconds:.0f} s", "complete everywhere": ", ".join(map(method_name, whole)) or "none"}
    sections: list[Any] = [overview_section(exhibits), *exhibits]
    if missing:
        sections.append(missing_section(missing))
    numbers = {
        "title": title,
        "seconds": seconds,
        "missing": dict(missing),
        "examples": {one.heading: _answer_numbers(one) for one in exhibits},
    }
    store.write_text(options.out / "summary.json", json.dumps(numbers, indent=1) + "\n")
    page = report(sections, title=title, lead=lead, facts=facts, reproduce=_command_line(options))
    return page.save(options.out / "gallery.html")


def _answer_of(exhibit: Exhibit, name: str) -> MethodAnswer:
    return next(answer for answer in exhibit.answers if answer.method == name)


def _answer_numbers(exhibit: Exhibit) -> dict[str, Any]:
    """What each method gave or why it refused, as JSON."""
    found: dict[str, Any] = {}
    for answer in exhibit.answers:
        if (allocation := answer.allocation) is None:
            found[answer.method] = {"refused": answer.refusal}
        else:
            numbers = {"base": float(allocation.base), "total": float(allocation.total), "gap": float(allocation.gap)}
            found[answer.method] = numbers | {"evaluations": int(allocation.evaluations), "values": int(allocation.flat.numel())}
    return found


def _command_line(options: GalleryOptions) -> str:
    words = ["vesalius", "gallery", "--out", str(options.out)]
    words += ["--methods", *options.methods] if options.methods else []
    words += ["--examples", *options.examples] if options.examples else []
    return shlex.join(words)
