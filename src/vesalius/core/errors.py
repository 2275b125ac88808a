"""Every error a user can meet, each saying what was expected, what came, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

MOST_LISTED = 40
"""Names that an error lists before it says how many more there are."""


class VesaliusError(Exception):
    """Base of all errors raised on purpose; catch it to catch them all."""

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle, which carries errors from one process to another: the sentence, and not what it was made of."""
        return _restore_error, (type(self), self.args, vars(self))


def _restore_error(kind: type[VesaliusError], words: tuple[Any, ...], facts: dict[str, Any]) -> VesaliusError:
    error = kind.__new__(kind, *words)
    vars(error).update(facts)
    return error


class InvalidInput(VesaliusError, ValueError):
    """A value has the wrong shape, range or content (NaN, empty, a target out of range)."""


class ModelFails(InvalidInput):
    """The model raises an error of its own on the example, which is the cause of this one."""


class WrongType(VesaliusError, TypeError):
    """A value has the wrong type or dtype."""


class UnknownName(VesaliusError, ValueError):
    """A name that does not exist here, with the nearest ones that do; ``known`` holds all of them."""

    def __init__(self, what: str, name: object, known: Iterable[str], *, meant: str | None = None, listed: bool = False) -> None:
        """Say what there is.

        Args:
            what: kind of thing.
            name: that was asked for.
            known: all names.
            meant: the one that is known elsewhere by the name that was asked for.
            listed: whether all names are listed beside the near ones.
        """
        known = self.known = list(map(str, known))
        lowered = {candidate.lower(): candidate for candidate in known}
        near = [lowered[match] for match in get_close_matches(str(name).lower(), lowered, n=5, cutoff=0.4)]
        near += [candidate for candidate in known if str(name) in candidate and candidate not in near][: 5 - len(near)]
        near = [meant, *(match for match in near if match != meant)] if meant is not None else near
        beyond = f", ... and {len(known) - MOST_LISTED} more (all of them: .known of this error)" if len(known) > MOST_LISTED else ""
        all_known = f"known: {', '.join(map(repr, known[:MOST_LISTED])) or 'none'}{beyond}"
        offer = f"did you mean {', '.join(map(repr, near))}?" if near else all_known
        super().__init__(f"there is no {what} {name!r}; {offer}" + (f" {all_known}" if listed and near else ""))


class NotTraceable(VesaliusError, TypeError):
    """The question needs the graph of the model, and the model did not export."""

    def __init__(self, need: str, reason: str, hint: str) -> None:
        super().__init__(f"{need} needs the graph of the model, but it could not be traced: {reason}. {hint}")


class NoRule(VesaliusError, TypeError):
    """Ops that a propagation rule does not cover; nothing is replaced by a plain gradient in silence."""

    def __init__(self, method: str, ops: Iterable[str]) -> None:
        listed = "; ".join(ops)
        super().__init__(
            f"{method} has no rule for: {listed}. Explain a value after these ops with at=, or use a method that needs no rules"
            " (integrated_gradients with rule='quadrature', expected_gradients, shapley_value, occlusion)"
        )


class TooManyPlayers(InvalidInput):
    """An exact computation was asked for more players than can be enumerated."""

    def __init__(self, players: int, most: int, *, hint: str) -> None:
        super().__init__(f"{players} players, but at most {most} can be enumerated; {hint}")


class BudgetTooSmall(InvalidInput):
    """Fewer evaluations were allowed than an estimator needs to say anything."""

    def __init__(self, budget: int, least: int, *, estimator: str) -> None:
        super().__init__(f"a budget of {budget} evaluations is too small for {estimator!r}: it needs at least {least}")


class MemoryExhausted(VesaliusError, MemoryError):
    """Even one coalition at a time does not fit into memory."""


class ForeignFile(VesaliusError, ValueError):
    """A file is corrupted, of another kind, or written by a newer version."""
