"""Comparisons that add up: in batches that fit into memory, in double precision where single precision loses too much.

Axes: B samples, D elements of all explained tensors of one sample, laid end to end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vesalius.games.memory import Batches, batch_size
from vesalius.methods.straight_path import BACKWARD_COST
from vesalius.rules.network_contributions import Contributions
from vesalius.trace.question import Question, to_float64

ROUNDING = 5e-6
"""Share of |f(x) - f(b)| that single precision may lose; samples that lose more are computed again in double precision."""

DOUBLE_ROUNDING = 1e-12
"""The same share for double precision, which is lost where a network goes through a smaller one within."""

NOISE = 1e-4
"""Share of the ends' size below which a change is not told from none: what is missed of it is measured against that share."""

HOLDS = 0.1
"""Share of the ends' size whose rounding a result may miss, before it is said in double precision."""

LEAST_MOVED = 1e4
"""How many times as large as what rounding lost a value is that takes it."""

COMPARISON_COST = 2 * BACKWARD_COST
"""Memory of a comparison, as a multiple of the live values of a forward pass: both ends of every op are kept."""

CompareFunction = Callable[[Question, tuple[Tensor, ...]], Contributions]


def with_double_fallback(
    question: Question, fills: tuple[Tensor, ...], compare: CompareFunction, rows: Int[Tensor, " n"] | None = None
) -> Contributions:
    """A comparison; in double precision throughout for samples whose effects cancel so far that single precision would not add up.

    The result stays in double precision where the values are so much larger than what they sum to that single precision cannot hold it. A
    network in double precision may have parts that are not, such as a softmax in ``float32``; without these it adds up, and is as exact.

    Args:
        question: what is compared.
        fills: explained tensors at the baselines, [B M ...] each.
        compare: the comparison of all samples of a question, or of ``rows`` where it is this one.
        rows: which samples; by default all.
    """
    found = compare(question, fills)
    double = question.present[0].dtype == torch.float64
    if double and not question.network.mixes_precisions:
        return found
    weak = (~adds_up(found, rounding=DOUBLE_ROUNDING if double else ROUNDING)).nonzero().flatten()
    if not len(weak):
        return found
    these = weak if rows is None else rows[weak]
    exact = compare(to_float64(question, these), tuple(fill[these].double() for fill in fills))
    rounded = take_up_rounding(_in_place(found, weak, exact), weak)
    if bool(adds_up(rounded, of_size=HOLDS).all()):
        return rounded
    return _in_place(Contributions(found.values.double(), found.base.double(), found.total.double()), weak, exact)


def _in_place(found: Contributions, rows: Int[Tensor, " n"], better: Contributions) -> Contributions:
    """Contributions with some rows replaced, in the precision that they have."""
    pairs = [(getattr(found, name), getattr(better, name)) for name in ("values", "base", "total")]
    return Contributions(*(old.index_copy(0, rows, new.to(old.dtype)) for old, new in pairs))


def take_up_rounding(found: Contributions, rows: Int[Tensor, " n"]) -> Contributions:
    """Contributions in single precision with what rounding of values and ends lost in some rows put into one value of each.

    That is the smallest of those ``LEAST_MOVED`` times as large as what was lost, since the smaller a value the less its own rounding loses
    again. Where there is none, or more was lost than rounding can lose, nothing is done.
    """
    values = found.values[rows].double()
    lost = found.total[rows].double() - found.base[rows].double() - values.sum(1)
    sizes = values.abs()
    most = torch.finfo(found.values.dtype).eps * (sizes.sum(1) + found.total[rows].abs() + found.base[rows].abs())
    able = (sizes >= LEAST_MOVED * lost.abs()[:, None]) & (sizes > 0) & (lost.abs() <= most)[:, None]
    chosen = sizes.where(able, torch.full_like(sizes, torch.inf)).argmin(1, keepdim=True)
    moved = values.scatter_add(1, chosen, lost.where(able.any(1), torch.zeros_like(lost))[:, None])
    return replace(found, values=found.values.index_copy(0, rows, moved.to(found.values.dtype)))


def adds_up(found: Contributions, of_size: float = NOISE, rounding: float = ROUNDING) -> Bool[Tensor, " B"]:
    """Whether values add up to rounding: of the change, and of a share of the size of its two ends."""
    change = found.total.double() - found.base.double()
    size = torch.maximum(found.total.abs(), found.base.abs()).double()
    return (found.values.sum(1, dtype=torch.float64) - change).abs() <= rounding * (change.abs() + of_size * size)


def compare_in_batches(question: Question, run: Callable[[Int[Tensor, " n"]], Contributions]) -> Contributions:
    """All samples, in batches that fit into memory."""
    device = question.present[0].device
    batches = Batches(max(1, batch_size(question.network, device) // COMPARISON_COST), "the comparison of one sample")
    parts = list(batches.over(torch.arange(question.batch, device=device), run))
    return Contributions(*(torch.cat([getattr(part, name) for part in parts]) for name in ("values", "base", "total")))
