"""Words and lists of names that callers hand over, read in one place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Set
from typing import Any, TypeVar, cast

import numpy as np

from vesalius.core.errors import MOST_LISTED, InvalidInput, UnknownName, WrongType

Choice = TypeVar("Choice")


def require_known(what: str, name: Any, known: Collection[Any]) -> None:
    """Refuse what is none of some names.

    Args:
        what: kind of thing, as in "there is no `what` named so".
        name: that was asked for.
        known: the names there are.

    Raises:
        WrongType: no name at all.
        UnknownName: none of these.
    """
    if isinstance(name, str) and name in known:
        return
    names = [str(one) for one in known]
    if not isinstance(name, str):
        shown = ", ".join(map(repr, names[:MOST_LISTED])) or "none"
        raise WrongType(f"the name of a {what} is a string, not {type(name).__name__} {name!r}; known: {shown}")
    raise UnknownName(what, name, names)


def resolve_choice(what: str, given: Any, known: Mapping[str, Callable[[], Choice]], kind: type) -> Choice:
    """What is meant by a name, by one of the classes behind the names, or by an instance, which is taken as it is.

    Args:
        what: kind of thing.
        given: name, class or instance.
        known: classes by name.
        kind: what an instance is of.

    Raises:
        WrongType, UnknownName: none of these.
    """
    if isinstance(given, str):
        require_known(what, given, known)
        return known[given]()
    if isinstance(given, type) and given in known.values():
        chosen: Choice = known[next(name for name, one in known.items() if one is given)]()
        return chosen
    if isinstance(given, type) or not isinstance(given, kind):
        raise WrongType(f"the {what} is a name or an instance, not {given!r}; known: {', '.join(map(repr, known))}")
    return cast("Choice", given)


def name_list(what: str, names: Any, *, count: int | None = None, distinct: bool = True) -> tuple[str, ...]:
    """Names in order, from any sequence, array, index or generator of them; ``None`` and nothing are none.

    Args:
        what: the names, as the caller calls them: ``names``, ``classes``.
        names: that were given.
        count: how many there must be, where there are any.
        distinct: refuse a name that comes twice.

    Raises:
        WrongType: a single word, or a container without an order.
        InvalidInput: another number of names; a name that comes twice.
    """
    if names is None:
        return ()
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable) or getattr(names, "ndim", 1) == 0:
        raise WrongType(f"{what} is a list of names, not {type(names).__name__} {names!r}; for a single one: [{str(names)!r}]")
    if isinstance(names, (Set, Mapping)):
        way = "list(it.values()) or list(it)" if isinstance(names, Mapping) else "sorted(it)"
        raise WrongType(f"{what} is a list of names in order, not a {type(names).__name__}; say in which order: {way}")
    if isinstance(names, np.ndarray) and names.ndim != 1:
        raise InvalidInput(f"{what} is a list of names, not an array of shape {list(names.shape)}")
    found = tuple(str(name) for name in names)
    if found and count is not None and len(found) != count:
        raise InvalidInput(f"{len(found)} {what} were given for {count}")
    if distinct:
        require_distinct(what, found)
    return found


def place_names(at: Any) -> tuple[str, ...]:
    """Names of values of a network, from one or from several that differ.

    Raises:
        WrongType, InvalidInput: as :func:`name_list`; none at all.
    """
    places = (at,) if isinstance(at, str) else name_list("at", at, distinct=False)
    if not places:
        raise InvalidInput("at= names no value; name one or several values or modules, or leave it out for the inputs")
    if twice := [name for name in places if places.count(name) > 1]:
        raise InvalidInput(f"at= names the value {twice[0]!r} twice; name it once")
    return places


def require_distinct(what: str, names: Iterable[str]) -> None:
    """Refuse a name that comes twice, since the second could not be told from the first.

    Raises:
        InvalidInput: with the name and its places.
    """
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        if name in places:
            raise InvalidInput(f"{what} must differ: {name!r} is at positions {places[name]} and {place}; rename one of them")
        places[name] = place


def numbered_repeats(names: Iterable[Any]) -> tuple[str, ...]:
    """Names of columns that a table has, those that come again numbered as pandas does: ``x``, ``x.1``, ``x.2``."""
    given = [str(name) for name in names]
    taken, found, counts = set(given), [], dict[str, int]()
    for name in given:
        shown, seen = name, name in counts
        while seen and shown in taken:
            counts[name] += 1
            shown = f"{name}.{counts[name]}"
        counts.setdefault(name, 0)
        taken.add(shown)
        found.append(shown)
    return tuple(found)
