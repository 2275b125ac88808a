"""What a model's answers on texts rest on: files, numbers and a page, by several methods."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from vesalius.core import store
from vesalius.core.allocation import Allocation
from vesalius.core.errors import ForeignFile, InvalidInput
from vesalius.core.fingerprint import json_description
from vesalius.core.progress import progress_bar, say
from vesalius.core.text_division import divide_text
from vesalius.core.tokenization import token_text
from vesalius.core.version import VERSION
from vesalius.language.targets import PerToken
from vesalius.methods import Method, attribute
from vesalius.trace.target import predicted_classes
from vesalius.trace.texts import GivenTexts
from vesalius.views import style
from vesalius.views.report import Report, report
from vesalius.views.text.section import TextDecision, text_decisions

MOST_WORDS = 40
"""Words of the longest text above which sentences are the players, where nobody says who is."""
KINDS = {"tokens": "token", "words": "word", "sentences": "sentence"}


@dataclass(frozen=True, eq=False, kw_only=True)
class TextJob:
    """What is asked of every method about some texts.

    Attributes:
        given: the texts, chosen.
        methods: instances.
        target, baseline, classes: see :func:`vesalius.attribute`.
        by: how the texts are divided into players.
        labels: one per text, or none.
        reproduce: the command that makes the page again.
    """

    given: GivenTexts
    methods: Sequence[Method]
    target: Any
    baseline: Any
    classes: Sequence[str]
    by: Any
    labels: Sequence[str]
    reproduce: str


def explain_texts(job: TextJob, folder: Path) -> Report:
    """The page; the methods' files and summary.json are written.

    Raises:
        As :func:`vesalius.attribute`.
    """
    began = time.monotonic()
    found = [_run(job, method, folder / f"{method.name}.safetensors") for method in job.methods]
    seconds = time.monotonic() - began
    matrix = isinstance(job.target, PerToken)
    said = _outcomes(job)
    each = [found] if matrix else [[one[place] for one in found] for place in range(len(job.given.texts))]
    decisions = [TextDecision(outcome=verdict, allocations=tuple(parts)) for verdict, parts in zip(said, each, strict=True)]
    facts = {
        "model": str(found[0].provenance.get("model", "")),
        "explained": style.pluralize(len(said), "text"),
        "players": found[0].players.kind,
        "target": str(found[0].provenance.get("target", "")),
        "baseline": str(found[0].provenance.get("baseline", "")),
        "made in": f"{seconds:.1f} s",
    }
    gaps = {one.method: float(one.gap.abs().max()) for one in found}
    written = {
        **facts,
        "texts": [
            {"text": text.text, "outcome": verdict.text, "values": {} if matrix else _values(parts)}
            for text, verdict, parts in zip(job.given.texts, said, each, strict=True)
        ],
        "largest_gap": gaps,
    }
    store.write_text(folder / "summary.json", json.dumps(written, indent=1) + "\n")
    heading = "Continuation" if matrix else "Texts"
    section = text_decisions(decisions, heading=heading, generated=matrix)
    worst = max(gaps, key=lambda name: gaps[name])
    lead = f"Largest completeness error (gap): {style.number(gaps[worst])}, of {style.method_name(worst)}."
    return report(section, title=f"What {facts['model']} reads in these texts", lead=lead, facts=facts, reproduce=job.reproduce)


def text_division(given: GivenTexts, asked: Any) -> Any:
    """How texts are divided: as asked, or into words, where there are not too many of them, else sentences."""
    if asked is None or asked == "auto":
        longest = max((len(divide_text(text, given.tokenizer, "word").names) for text in given.texts), default=0)
        return "word" if longest <= MOST_WORDS else "sentence"
    return KINDS.get(asked, asked) if isinstance(asked, str) else asked


def _values(parts: Sequence[Allocation]) -> dict[str, list[list[Any]]]:
    return {one.method: [[name, value] for name, value in zip(one.players.names, one.flat.tolist(), strict=True)] for one in parts}


def _outcomes(job: TextJob) -> list[style.Verdict]:
    """What the model makes of each text, in words, and whether that is its label."""
    if isinstance(job.target, PerToken):
        return [style.Verdict("plain", f"goes on with {''.join(job.target.each(job.given.tokenizer))!r}")]
    found = []
    for place, text in enumerate(job.given.texts):
        output = job.given.logits(torch.tensor([text.ids]))
        if output.ndim == 3:
            best = int(output[0, -1].argmax())
            found.append(style.Verdict("plain", f"next token {token_text(job.given.tokenizer, best)!r}"))
            continue
        best = int(predicted_classes(output)[0]) if output.ndim == 2 and output.shape[1] > 1 else 0
        shown = job.classes[best] if best < len(job.classes) else f"class {best}"
        label = str(job.labels[place]) if job.labels else None
        level = "plain" if label is None else "ok" if label in (shown, str(best)) else "bad"
        found.append(style.Verdict(level, f"predicted {shown}" + ("" if label is None else f", label {label}")))
    return found


def _run(job: TextJob, method: Method, file: Path) -> Allocation:
    """A method's answer, from its file if it is there and everything that matters is as it was."""
    options = {known.name: json_description(getattr(method, known.name)) for known in fields(method)}
    logits = [json_description(job.given.logits(torch.tensor([text.ids]))) for text in job.given.texts]
    asked = [json_description(repr(part)) for part in (job.target, job.baseline, job.by, tuple(job.classes))]
    key = hashlib.sha256(json.dumps([VERSION, torch.__version__, method.name, options, logits, asked]).encode()).hexdigest()[:32]
    kept = _kept(file, key)
    if kept is not None:
        say(f"{method.name}: kept from {file}")
        return kept

    asking = {"target": job.target, "baseline": job.baseline, "classes": job.classes, "tokenizer": job.given.tokenizer}
    given = replace(job.given, single=isinstance(job.target, PerToken))
    with progress_bar(method.name.replace("_", " ")) as step:
        step(0, len(job.given.texts))
        found = attribute(job.given.model, given, method, players=job.by, **asking)
    found = replace(found, provenance={**found.provenance, "run": key})
    found.save(file)
    return found


def _kept(file: Path, key: str) -> Allocation | None:
    try:
        found = Allocation.load(file)
    except (FileNotFoundError, ForeignFile):
        return None
    return found if found.provenance.get("run") == key else None


def read_labels(labels: Any, count: int) -> list[str]:
    """Labels as words, one per text.

    Raises:
        InvalidInput: another number of them.
    """
    found = [] if labels is None else [str(one) for one in (labels.tolist() if hasattr(labels, "tolist") else labels)]
    if found and len(found) != count:
        raise InvalidInput(f"{len(found)} labels for {count} texts; give one for each")
    return found
