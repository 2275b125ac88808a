"""Attributions of texts: those of one length together, and all of them as one allocation.

Axes: B texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput
from vesalius.core.players import Players
from vesalius.core.samples import PER_SAMPLE
from vesalius.games.absence import Absence, BystandersPresent
from vesalius.trace.question import Question
from vesalius.trace.text_questions import TextWords, pose_texts
from vesalius.trace.texts import GivenTexts

GENERATED = "generated"
"""Under which the provenance of a matrix holds the tokens that are explained, one per sample."""
TENSORS = ("values", "base", "total", "stderr", "converged", "map_error", "evaluations")


def attribute_texts(given: GivenTexts, method: Any, asked: TextWords, run: Callable[..., Allocation]) -> Allocation:
    """Attributions of texts of any length, as one allocation with players of each text.

    Args:
        given: the texts.
        method: an instance, whose players are those of the texts.
        asked: of the verb.
        run: :func:`vesalius.attribute` on rows of ids.
    """
    lengths: dict[int, list[int]] = {}
    for place, text in enumerate(given.texts):
        lengths.setdefault(len(text), []).append(place)
    found: dict[int, Allocation] = {}
    for places in lengths.values():
        part = _attribute_rows(given, places, method, asked, run)
        if GENERATED in part.provenance:
            return part
        found |= dict(zip(places, part, strict=True))
    each = [found[place] for place in range(len(given.texts))]
    return each[0] if given.single else join_texts(each)


def _attribute_rows(given: GivenTexts, places: Sequence[int], method: Any, asked: TextWords, run: Callable[..., Allocation]) -> Allocation:
    """Attributions of texts of one length."""
    posed = pose_texts(given, places, asked)
    playing = replace(method, players=None if hasattr(method, "patches") else posed.players)
    found = run(posed.network, posed.x, playing, target=posed.target, baseline=posed.baseline, at=posed.at, players=posed.players)
    facts = dict(found.provenance)
    if posed.baseline_words:
        facts["baseline"] = posed.baseline_words
    if posed.targets:
        facts[PER_SAMPLE] = {**facts.get(PER_SAMPLE, {}), "target": list(posed.targets)}
        facts["target"] = posed.targets[0] if len(set(posed.targets)) == 1 else "each token" if posed.generated else "predicted token"
    if posed.generated:
        facts[GENERATED] = list(posed.generated)
    return replace(found, provenance=facts)


def join_texts(each: Sequence[Allocation]) -> Allocation:
    """Allocations of single texts as one; a text of fewer players has zeros in the places of the others."""
    players = Players.joined([one.players for one in each])

    def stack(name: str) -> Tensor | None:
        parts = [getattr(one, name) for one in each]
        if any(part is None for part in parts):
            return None
        if name in ("values", "stderr"):
            parts = [torch.cat([part, part.new_zeros(players.n - len(part))]) for part in parts]
        return torch.stack(parts)

    where = dict.fromkeys(name for one in each for name in one.absorbed)
    absorbed = {name: torch.stack([one.absorbed.get(name, torch.zeros_like(one.total)) for one in each]) for name in where}
    targets = [str(one.provenance.get("target", "")) for one in each]
    facts = {**each[0].provenance, PER_SAMPLE: {"target": targets}}
    if len(set(targets)) > 1:
        facts["target"] = "predicted"
    shapes = {tuple(here.shape for here in one.explained) for one in each}
    explained = tuple(map(torch.stack, zip(*(one.explained for one in each), strict=True))) if len(shapes) == 1 else ()
    tensors: dict[str, Any] = {name: stack(name) for name in TENSORS}
    return replace(each[0], players=players, absorbed=absorbed, explained=explained, provenance=facts, **tensors)


def check_samples(players: Players, question: Question) -> None:
    """Refuse players that do not fit the samples, and rows of unlike length without a mask.

    Raises:
        InvalidInput: they do not.
    """
    if not players.samples:
        players.check([tensor[0] for tensor in question.present])
        return
    if len(players.samples) != question.batch:
        raise InvalidInput(f"these players are of {len(players.samples)} texts, and {question.batch} samples came")
    for row, own in enumerate(players.samples):
        own.check([tensor[row] for tensor in question.present])
    lengths = {0 if own.layout is None else len(own.layout.ids) for own in players.samples}
    if len(lengths) > 1 and not any("mask" in value.name.lower() for value in question.network.inputs):
        raise InvalidInput(
            "the texts are of unlike length and padded to one, and the model was given no mask, so that it reads the padding as text; give"
            " what the tokenizer makes with its attention_mask, or the texts themselves with tokenizer="
        )


def keep_bystanders(absence: Absence, players: Players) -> Absence:
    """An absence for the players of a text alone: special tokens and padding stay as they are."""
    owned = [own for own in (players.samples or (players,)) if own.from_left and any(bool((index < 0).any()) for index in own.index)]
    return BystandersPresent(absence, players) if owned else absence
