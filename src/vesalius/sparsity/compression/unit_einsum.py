"""How labels of units go through ``torch.einsum``: letter by letter.

Axes: U units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.fx import Node

from vesalius.sparsity.compression.unit_labels import FIXED
from vesalius.sparsity.compression.unit_layers import note_reader, value_name
from vesalius.sparsity.compression.unit_pass import Moving, Rule, Stored, Tracked, UnitPass

DOTS = "0123456789"
"""In the place of the axes that dots stand for, the last axis first."""


@dataclass(frozen=True, eq=False)
class _Operand:
    """One factor.

    Attributes:
        term: a letter per axis.
        known: what is known of it.
        node: whose it is.
        along: labels along the axis of each letter; fixed ones where its units are on another axis.
    """

    term: str
    known: Tracked
    node: Node
    along: Mapping[str, Int[Tensor, " _"]]


def _einsum(run: UnitPass, node: Node) -> Any:
    """Units of all factors with a letter are one; those of the first letter of the result that has any go, and of the others none."""
    nodes: Sequence[Node] = node.args[1]  # type: ignore[assignment]
    terms, result = _terms(str(node.args[0]), [_rank(run, one) for one in nodes], len(node.meta["value"].shape))
    if (not result and not node.meta["value"].is_tensor) or any(len({*term}) < len(term) for term in terms):
        return None
    reason = f"{value_name(node)!r} reads it with values that stay"
    factors = [_operand(run, term, one, reason) for term, one in zip(terms, nodes, strict=True)]
    letters = dict.fromkeys("".join(terms))
    joined = {letter: _join_letter(run, letter, factors, reason) for letter in letters}
    zero = any(one.known.zero for one in factors)
    for letter in letters:
        read = letter in result or any(letter in one.term and isinstance(one.known, Stored) for one in factors)
        if not read and bool((joined[letter] != FIXED).any()):
            if not zero:
                return None
            run.labels.need_zeros(joined[letter])
    _note_readers(run, node, factors, result)
    with_units = [letter for letter in result if not bool(run.labels.is_fixed(joined[letter]).all())]
    for letter in with_units[1:]:
        run.labels.fix(joined[letter], f"{value_name(node)!r} has units along several axes, of which those of the first go")
    return Moving(_result(run, result, with_units[:1], joined, factors), zero)


def _rank(run: UnitPass, node: Node) -> int:
    known = run.of(node)
    return len(known.axes) if isinstance(known, Stored) else run.moving(node).labels.ndim


def _terms(equation: str, ranks: Sequence[int], rank: int) -> tuple[list[str], str]:
    """Letters of each factor and of the result; an equation without an arrow is not followed."""
    given, arrow, result = equation.replace(" ", "").partition("->")
    if not arrow:
        raise ValueError("an equation without a result")
    return [_spell(term, one) for term, one in zip(given.split(","), ranks, strict=True)], _spell(result, rank)


def _spell(term: str, rank: int) -> str:
    count = rank - len(term.replace("...", ""))
    return term.replace("...", DOTS[:count][::-1])


def _operand(run: UnitPass, term: str, node: Node, reason: str) -> _Operand:
    known = run.of(node)
    if isinstance(known, Stored):
        return _Operand(term, known, node, dict(zip(term, known.axes, strict=True)))
    known = run.moving(node)
    varying = run.labels.varies(known.labels)
    for axis in varying[1:]:
        run.labels.join_along(known.labels, axis, reason)
    found = {letter: torch.full([side], FIXED) for letter, side in zip(term, known.labels.shape, strict=True)}
    if varying := run.labels.varies(known.labels):
        found[term[varying[0]]] = run.along(known, varying[0], reason)
    return _Operand(term, known, node, found)


def _join_letter(run: UnitPass, letter: str, factors: Sequence[_Operand], reason: str) -> Int[Tensor, " _"]:
    """Labels of a letter, now one in all factors that have it in full."""
    found = [one.along[letter] for one in factors if letter in one.term]
    full = [one for one in found if len(one) == max(map(len, found))]
    for other in full[1:]:
        run.labels.join(full[0], other, reason)
    return run.labels.find(full[0])


def _note_readers(run: UnitPass, node: Node, factors: Sequence[_Operand], result: str) -> None:
    """Parameters that are summed over read what they are multiplied with."""
    for one in factors:
        if isinstance(one.known, Stored):
            for axis, letter in enumerate(one.term):
                source = next((other for other in factors if letter in other.term and isinstance(other.known, Moving)), None)
                if letter not in result and source is not None:
                    note_reader(run, node, one.known, axis, source.node, source.term.index(letter))


def _result(
    run: UnitPass, result: str, chosen: Sequence[str], joined: Mapping[str, Tensor], factors: Sequence[_Operand]
) -> Int[Tensor, "..."]:
    """Labels of the result, along one letter; new units are called by the parameter that makes them."""
    sides = [len(joined[letter]) for letter in result]
    if not chosen:
        return torch.full([1] * len(sides), FIXED).expand(sides)
    labels = joined[chosen[0]]
    if not any(chosen[0] in one.term and isinstance(one.known, Moving) for one in factors):
        weights = [one.known.names[0] for one in factors if chosen[0] in one.term and isinstance(one.known, Stored)]
        run.made[weights[0]] = labels
    return labels.reshape([-1 if letter == chosen[0] else 1 for letter in result]).expand(sides)


EINSUM_RULES: Mapping[str, Rule] = {"einsum": _einsum}
