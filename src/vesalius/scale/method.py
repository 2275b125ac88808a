"""What may be asked of every row, by name or with options."""

from __future__ import annotations

from typing import Any

from vesalius.complexity.components import Complexity
from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.methods import METHODS, Method
from vesalius.methods.base import resolve_method
from vesalius.scale.aggregate import Aggregate
from vesalius.scale.aggregates import AGGREGATES
from vesalius.scale.moments import ComponentMoments
from vesalius.scale.task import BlockFunction, Dividends

SurveyMethod = str | type[Method] | Method | Dividends | Aggregate | Complexity | BlockFunction
"""An attribution by name, class or instance; ``"interactions"`` or ``Dividends(...)``; a sum over rows by name or with its options; a
result of :func:`vesalius.complexity`; a function from rows to an Allocation."""


def resolve_survey_method(method: Any) -> Method | Dividends | Aggregate | BlockFunction:
    """What is meant by a name, a class, an instance or a function.

    Raises:
        UnknownName: no such method.
        WrongType: something else.
        InvalidInput: complexity by its name, which trains.
    """
    if isinstance(method, Complexity):
        return ComponentMoments(parts=method)
    if method == ComponentMoments.name or method is ComponentMoments:
        raise InvalidInput(
            "complexity trains disentanglers, which is no sum over rows; train them on a sample, parts = vesalius.complexity(model, sample,"
            " at=...), and survey what they explain of all rows: vesalius.survey(model, data, parts, out=...)"
        )
    if isinstance(method, type) and issubclass(method, Aggregate):
        return method()
    if isinstance(method, Aggregate):
        return method
    if isinstance(method, str) and method in AGGREGATES:
        return AGGREGATES[method]()
    if isinstance(method, Dividends) or method is Dividends or method == Dividends.name:
        return method if isinstance(method, Dividends) else Dividends()
    ours = isinstance(method, (str, Method)) or (isinstance(method, type) and issubclass(method, Method))
    if not ours and not callable(method):
        raise WrongType(f"a method is a name, a class or instance of vesalius.methods, Dividends, or a function of rows, not {method!r}")
    if isinstance(method, str) and method not in METHODS:
        try:
            return resolve_method(method)
        except UnknownName as error:
            raise UnknownName("method", method, [*METHODS, Dividends.name, *AGGREGATES], listed=True) from error
    return resolve_method(method) if ours else method
