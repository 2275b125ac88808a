"""Patching of sites: what a part of the inside is worth when it takes the value that it has on another prompt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.names import require_known
from vesalius.core.players import Players
from vesalius.core.rows import read_rows
from vesalius.games.absence import Absence, Baseline, Constant
from vesalius.methods.base import attribute
from vesalius.trace.network import Inputs
from vesalius.trace.receive import receive
from vesalius.trace.target import Target

DIRECTIONS = ("noising", "denoising")


def paired(x: Inputs, baseline: Baseline) -> Baseline:
    """A baseline for prompts: one row for each of several prompts is paired with it, and no background."""
    rows = read_rows(x).parts
    if isinstance(baseline, Tensor) and rows and baseline.shape == rows[0].shape and len(baseline) > 1:
        return Constant(baseline)
    return baseline


@verb
def attribution_patching(
    model: Any, x: Inputs, baseline: Baseline = None, *, players: Players | None = None, target: Target = None
) -> Allocation:
    """The effect of patching each part, to first order, from two forward passes and a backward pass: gradient x input at the parts.

    Args:
        model: a Network, or any model that :func:`vesalius.trace` takes.
        x: prompts, ids [B T].
        baseline: the other prompts, ids of the same shape, paired with these; or anything that :func:`vesalius.attribute` takes for what is
            absent, such as ``vesalius.Mean(background)``; zero by default.
        players: parts of the inside; by default all heads.
        target: what is explained, see :func:`vesalius.attribute`; by default the predicted class.

    Returns:
        For each part (present - patched) times the gradient there: what the output would lose. The gap says what first order misses.

    Raises:
        InvalidInput: the graph shows no heads; a baseline that does not fit.

    Reference: Nanda2023; Syed2024. Differs from these: the sign, which is that of what is lost; positions and features are added up.
    """
    network = receive(model, x).network
    who = Players.heads(network) if players is None else players
    return attribute(network, x, "gradient_x_input", target=target, baseline=paired(x, baseline), players=who)


@verb
def activation_patching(
    model: Any,
    x: Inputs,
    baseline: Baseline = None,
    *,
    players: Players | None = None,
    target: Target = None,
    direction: str = "noising",
) -> Allocation:
    """The effect of patching each part alone, everything behind it computed anew.

    Args:
        model, x, baseline, players, target: as :func:`attribution_patching`.
        direction: ``noising``: the part takes its value of the baseline in the run on ``x``, and the value is what is lost;
            ``denoising``: the part takes its value of ``x`` in the run on the baseline, which must be prompts, and the value is what is
            gained. The target must be said then, since what is predicted differs between the two.

    Raises:
        UnknownName: no such direction.
        WrongType: denoising from something else than prompts.
        InvalidInput: denoising without a target.

    Reference: Meng2022; Heimersheim2024 for the two directions.
    """
    require_known("direction", direction, DIRECTIONS)
    network = receive(model, x).network
    who = Players.heads(network) if players is None else players
    if direction == "noising":
        return attribute(network, x, "occlusion", target=target, baseline=paired(x, baseline), players=who)
    other = baseline.value if isinstance(baseline, Constant) else baseline
    if not isinstance(other, Tensor) or isinstance(other, Absence):
        raise WrongType(f"denoising runs on other prompts, so the baseline is ids of the same shape, not {type(baseline).__name__}")
    if target is None:
        raise InvalidInput("denoising runs on the other prompts, of which another class may be predicted; say which target= is meant")
    given = read_rows(x).parts[0]
    found = attribute(network, other, "occlusion", target=target, baseline=paired(other, given), players=who)
    return replace(found, values=-found.values, base=found.total, total=found.base)
