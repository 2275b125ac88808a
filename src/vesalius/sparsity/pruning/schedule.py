"""How a sparsity is approached in steps."""

from __future__ import annotations

from vesalius.core.entry import verb
from vesalius.core.numbers import POSITIVE_COUNT, Limit, real_number, whole_number


@verb
def cubic_schedule(final: float, steps: int, *, start: float = 0.0) -> list[float]:
    """Sparsities that rise fast at first and slowly in the end, for :func:`vesalius.sparsity.sparsify_gradually`.

    Args:
        final: the last one, in [0, 1).
        steps: how many.
        start: the one before the first, in [0, final].

    Returns:
        ``final + (start - final) (1 - t)^3`` for t = 1 / steps, ..., 1.

    Raises:
        InvalidInput: a number out of range.

    Reference: Zhu2017, equation 1.
    """
    share = Limit(least=0, below=1)
    end, first = real_number("final", final, share), real_number("start", start, Limit(least=0, most=final))
    count = whole_number("steps", steps, POSITIVE_COUNT)
    return [end + (first - end) * (1 - step / count) ** 3 for step in range(1, count + 1)]
