"""Every method on the same digits, pictures, sentence and table row, on one page."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vesalius.core import store
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput, VesaliusError
from vesalius.core.names import require_known
from vesalius.core.progress import say
from vesalius.data.download import MissingData
from vesalius.methods import METHODS, Method
from vesalius.views.gallery import Exhibit, MethodAnswer, adds_up, missing_section, overview_section
from vesalius.views.report import Report, report
from vesalius.views.style import method_name, pluralize
from vesalius.workflow.explain import check_methods
from vesalius.workflow.folder import output_folder
from vesalius.workflow.gallery_examples import EXAMPLES, Example
from vesalius.workflow.method_runs import options_of, run_methods

PAGE = "gallery.html"


@verb
def gallery(
    *,
    methods: Sequence[str] | None = None,
    examples: Sequence[str] | None = None,
    cache: Path | None = None,
    out: str | Path | None = None,
    reproduce: str = "",
) -> Report:
    """Explain the same few inputs by every method: one page. Examples whose files are not here are left out.

    Args:
        methods: names, in the order they are shown; all by default.
        examples: names of :data:`vesalius.workflow.gallery_examples.EXAMPLES`; all by default.
        cache: folder of trained networks and downloads; the user's cache by default.
        out: folder to write to: a folder of safetensors per example, ``summary.json`` and ``gallery.html``. What is finished there is not
            computed again. ``None``: nothing is written.
        reproduce: the command that makes the page again, shown on it.

    Raises:
        UnknownName: no such method or example.
        InvalidInput: none of the examples is here.
    """
    names = [method.name for method in check_methods(list(METHODS) if methods is None else methods)]
    wanted = list(EXAMPLES) if examples is None else list(examples)
    for name in wanted:
        require_known("example", name, EXAMPLES)
    began = time.monotonic()
    with output_folder(out) as folder:
        exhibits, missing = _make_exhibits(wanted, names, cache, folder)
        if not exhibits:
            raise InvalidInput(f"there is nothing to show: {'; '.join(missing.values())}")
        found = GalleryResult(methods=names, exhibits=exhibits, missing=missing, seconds=time.monotonic() - began)
        store.write_text(folder / "summary.json", json.dumps(found.facts(), indent=1) + "\n")
        page = _page(found, reproduce)
        page.save(folder / PAGE)
    return page


@dataclass(frozen=True, eq=False, kw_only=True)
class GalleryResult:
    """What a run found.

    Attributes:
        methods: names.
        exhibits: examples with the answers of all methods.
        missing: why examples were left out, by name.
        seconds: that it took.
    """

    methods: Sequence[str]
    exhibits: Sequence[Exhibit]
    missing: Mapping[str, str]
    seconds: float

    @property
    def complete(self) -> list[str]:
        """Methods whose values add up on every example."""
        return [name for name in self.methods if all(adds_up(_answer_of(exhibit, name)) for exhibit in self.exhibits)]

    @property
    def title(self) -> str:
        """The finding."""
        count = f"{len(self.complete)} of {pluralize(len(self.methods), 'method')}"
        return f"{count} are complete on every one of {pluralize(len(self.exhibits), 'input')}"

    def facts(self) -> dict[str, Any]:
        """Numbers, as summary.json holds them."""
        examples = {one.heading: _answer_numbers(one) for one in self.exhibits}
        return {"title": self.title, "seconds": self.seconds, "missing": dict(self.missing), "examples": examples}


def _make_exhibits(
    examples: Sequence[str], methods: Sequence[str], cache: Path | None, folder: Path
) -> tuple[list[Exhibit], dict[str, str]]:
    """The examples, and why others are left out."""
    exhibits: list[Exhibit] = []
    missing: dict[str, str] = {}
    for name in dict.fromkeys(examples):
        try:
            example = EXAMPLES[name](cache)
        except MissingData as error:
            say(f"{name} is left out: {error}")
            missing[name] = str(error)
            continue
        exhibits.append(make_exhibit(example, methods, folder / name))
    return exhibits, missing


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


def _page(found: GalleryResult, reproduce: str) -> Report:
    lead = (
        "Every method on the same inputs, asked about the same score and given the same baseline. Red raised the score, blue lowered it. "
        "Each map has a colour scale of its own, whose end stands beside it: compare places between methods, not strength of colour. "
        "A method that refuses says why."
    )
    facts = {"made in": f"{found.seconds:.0f} s", "complete everywhere": ", ".join(map(method_name, found.complete)) or "none"}
    sections: list[Any] = [overview_section(found.exhibits), *found.exhibits]
    if found.missing:
        sections.append(missing_section(list(found.missing.items())))
    return report(sections, title=found.title, lead=lead, facts=facts, reproduce=reproduce)


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
