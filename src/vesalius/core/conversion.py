"""Maps of other libraries as the fields of an allocation, and an allocation's numbers as what other libraries take.

Nothing here is imported that a result could do without: pandas and shap are asked for when they are used.

Axes: B samples (absent for a single one), P players.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vesalius.core.arguments import read_argument
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.names import name_list
from vesalius.core.players import Players
from vesalius.core.rows import read_rows, to_tensor
from vesalius.core.samples import PER_SAMPLE

Array = np.ndarray[Any, np.dtype[Any]]
Fields = dict[str, Any]
"""Arguments of an allocation."""


# ---- to other libraries ---------------------------------------------------------------------------------------------------------------


def to_array(values: Tensor, dtype: Any = None, copy: bool | None = None) -> Array:
    """As NumPy's ``__array__`` protocol wants it; precisions that NumPy does not have become float32.

    Raises:
        ValueError: ``copy=False``, where the numbers have to be moved or converted.
    """
    here = values.detach()
    plain = here.float() if here.dtype in (torch.bfloat16, torch.float16) else here
    found: Array = plain.cpu().numpy()
    wanted = found.dtype if dtype is None else np.dtype(dtype)
    if copy is False and (plain is not here or here.device.type != "cpu" or wanted != found.dtype):
        raise ValueError(f"values of {values.dtype} on {values.device} cannot become {wanted} without a copy; leave out copy=False")
    return np.array(found, dtype=wanted) if copy else found.astype(wanted, copy=False)


def to_dataframe(values: Float[Tensor, "B K"], columns: Sequence[str], index: Sequence[Any] | None) -> Any:
    """A row per sample, a column per player or coalition.

    Raises:
        ModuleNotFoundError: pandas is not installed.
    """
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise _not_installed("pandas", "to_dataframe") from error
    return pandas.DataFrame(to_array(values), columns=list(columns), index=None if index is None else list(index))


def to_xarray(numbers: Mapping[str, Tensor], columns: Mapping[str, Sequence[Any]], rows: Sequence[int], names: Sequence[str] | None) -> Any:
    """Numbers [N ...] by name and what else is known of each row, as an ``xarray.Dataset`` over ``row``.

    Args:
        numbers: the first axis is that of the rows.
        columns: one value for each row.
        rows: positions in the data.
        names: of the players, where they lie along one axis.

    Raises:
        ModuleNotFoundError: xarray is not installed.
    """
    try:
        import xarray
    except ModuleNotFoundError as error:
        raise _not_installed("xarray", "to_xarray") from error
    axes = {name: ("row", *(f"axis {place}" for place in range(1, tensor.ndim))) for name, tensor in numbers.items()}
    if names is not None:
        axes["values"] = ("row", "player")
    variables: dict[str, Any] = {name: (axes[name], to_array(tensor)) for name, tensor in numbers.items()}
    coordinates: dict[str, Any] = {"row": list(rows), **({} if names is None else {"player": list(names)})}
    return xarray.Dataset(variables | {name: ("row", list(values)) for name, values in columns.items()}, coords=coordinates)


def to_shap(values: Tensor, base: Tensor, data: Tensor | None, names: Sequence[str] | None) -> Any:
    """A ``shap.Explanation``.

    Raises:
        ModuleNotFoundError: shap is not installed.
    """
    try:
        import shap
    except ModuleNotFoundError as error:
        raise _not_installed("shap", "to_shap") from error
    return shap.Explanation(
        to_array(values),
        base_values=to_array(base) if base.ndim else float(base),
        data=None if data is None else to_array(data),
        feature_names=None if names is None else list(names),
    )


def _not_installed(package: str, use: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(f".{use}() needs {package}, which is not installed: pip install {package}", name=package)


def element_per_player(players: Players, explained: Sequence[Tensor]) -> Tensor | None:
    """The explained tensors' own value for each player, where every player is a single element; else ``None``.

    Args:
        players: who were paid.
        explained: the explained tensors [B *event] each; none where they are not known.

    Returns:
        [B P], such as the columns of a table.
    """
    if not explained or players.parts is not None or players.kind == "links" or len(players.index) != len(explained):
        return None
    if players.from_left and explained[0].ndim > 2:
        return None
    owner = torch.cat([index.expand(here.shape[1:]).reshape(-1) for index, here in zip(players.index, explained, strict=True)])
    owned = owner >= 0
    if not bool((owner[owned].bincount(minlength=players.n) == 1).all()):
        return None
    place = torch.empty(players.n, dtype=torch.long).index_put((owner[owned],), owned.nonzero().flatten())
    return torch.cat([here.flatten(1) for here in explained], 1)[:, place.to(explained[0].device)]


# ---- from other libraries -------------------------------------------------------------------------------------------------------------


def read_array(values: Any, *, players: Players | None, names: Sequence[str], base: Any, total: Any, data: Any) -> Fields:
    """A map as the fields of an allocation; see :meth:`vesalius.Allocation.from_array`."""
    names = name_list("names", names)
    players = None if players is None else read_argument("players", players, "Players")
    given = read_rows(values)
    if len(given.parts) != 1:
        raise InvalidInput(f"values are one array, and {len(given.parts)} came; for a map per input there is Allocation.from_captum")
    found, names = _as_float(given.parts[0]), names or given.features
    if found.ndim == 0:
        raise InvalidInput("values hold one number; an attribution has one per feature, [features] or [samples, features, ...]")
    if players is None:
        players = Players.features(
            torch.empty(found.shape[1:] if found.ndim > 1 else found.shape, dtype=found.dtype, device="meta"), names=names
        )
    found = _sum_into_players(found, players)
    batch = found.shape[: found.ndim - len(players.shape)]
    parts = () if data is None else tuple(part.detach().clone() for part in read_rows(data).parts)
    if parts:
        players.check([torch.empty(part.shape[len(batch) :], dtype=part.dtype, device="meta") for part in parts])
    known = {"base": _per_sample(base, batch, found, "base"), "total": _per_sample(total, batch, found, "total")}
    facts = {} if not given.ids else {PER_SAMPLE: {"id": list(given.ids)}} if batch else {"id": given.ids[0]}
    return {"players": players.named(names), "values": found, "explained": parts, "provenance": facts, **known}


def join_facts(known: Mapping[str, Any], method: str, provenance: Mapping[str, Any] | None) -> dict[str, Any]:
    """The provenance of a map from elsewhere.

    Raises:
        WrongType: no mapping.
    """
    if provenance is not None and not isinstance(provenance, Mapping):
        raise WrongType(f"provenance is a mapping, {{'target': 'class 3'}}, not {type(provenance).__name__}")
    return {**known, "method": method, **(provenance or {})}


def check_parts(players: Any, **parts: Any) -> None:
    """Refuse an allocation of what are no players, or whose parts are no tensors.

    Raises:
        WrongType: with the first of them.
    """
    read_argument("players", players, "Players")
    for name, part in parts.items():
        if not isinstance(part, Tensor):
            raise WrongType(f"{name} is a tensor, not {type(part).__name__}; from other arrays and numbers: Allocation.from_array")


def _sum_into_players(values: Tensor, players: Players) -> Tensor:
    """Values [*B *players.shape], from that or from values per element; those with more axes than the players have one of samples."""
    extra = values.ndim - len(players.shape)
    if extra in (0, 1) and tuple(values.shape[extra:]) == tuple(players.shape):
        return values
    if len(players.index) != 1 or values.ndim < 1 or players.parts is not None:
        raise InvalidInput(f"values of shape {list(values.shape)} do not fit {players}, with or without an axis of samples")
    single = values.ndim == players.index[0].ndim
    rows = values[None] if single else values
    players.check([rows[0]])
    found = players.gather([rows]).reshape(-1, *players.shape)
    return found[0] if single else found


def _per_sample(given: Any, batch: Sequence[int], values: Tensor, name: str) -> Float[Tensor, "*B"]:
    """A number per sample; NaN where it is not known."""
    if given is None:
        return values.new_full(tuple(batch), torch.nan)
    found = to_tensor(given)
    if found.is_complex() or found.dtype == torch.bool:
        raise WrongType(f"{name} is a real number, or one per sample, not {found.dtype}")
    found = found.detach().to(values)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if tuple(found.shape) not in ((), (1,), tuple(batch)):
        raise InvalidInput(f"{name} is a number, or one per sample {list(batch)}, not {list(found.shape)}")
    return found.reshape(()).expand(tuple(batch)).clone() if found.numel() == 1 else found.clone()


def _as_float(values: Tensor) -> Tensor:
    """Numbers on their own device and in their own precision; integers become float64."""
    if values.is_complex():
        raise WrongType(f"values are real numbers, and complex ones came ({values.dtype}); take their size or real part: .abs(), .real")
    return values.detach() if values.is_floating_point() else values.detach().double()


def read_captum(values: Any, *, feature_mask: Any, players: Players | None) -> tuple[Tensor, Players | None]:
    """What captum returned as one tensor [B ...], and the players it is of; see :meth:`vesalius.Allocation.from_captum`."""
    parts = [_as_float(to_tensor(part)) for part in _as_sequence(values)]
    if any(part.ndim < 2 for part in parts):
        raise InvalidInput(f"captum's attributions are [samples, ...] per input; these are {[list(part.shape) for part in parts]}")
    if feature_mask is not None:
        if players is not None:
            raise InvalidInput("feature_mask and players both say who was paid; give one")
        players = _masked_players([to_tensor(mask) for mask in _as_sequence(feature_mask)], parts)
        return _one_value_each(players, parts), players
    if len(parts) == 1:
        return parts[0], players
    players = Players.features(*[part[0] for part in parts]) if players is None else read_argument("players", players, "Players")
    players.check([part[0] for part in parts])
    return players.gather(parts).reshape(-1, *players.shape), players


def _as_sequence(given: Any) -> Sequence[Any]:
    return given if isinstance(given, (tuple, list)) else [given]


def _masked_players(masks: Sequence[Tensor], parts: Sequence[Tensor]) -> Players:
    """The parts that captum's ``feature_mask`` tells apart, over all inputs."""
    if len(masks) != len(parts):
        raise InvalidInput(f"{len(masks)} feature masks came for attributions of {len(parts)} inputs; give one mask for each")
    plain = []
    for mask, part in zip(masks, parts, strict=True):
        if not mask.ndim:
            raise InvalidInput("a feature mask has a number for each element of its input, and a single number came")
        if mask.is_floating_point() or mask.is_complex():
            raise WrongType(f"a feature mask holds whole numbers, equal ones for a part, not {mask.dtype}; as captum: mask.long()")
        if mask.ndim == part.ndim and (len(mask) == 1 or bool((mask == mask[:1]).all())):
            mask = mask[0]
        if mask.ndim >= part.ndim:
            raise InvalidInput("this feature_mask differs from sample to sample; make an allocation of each sample with its own mask")
        plain.append(mask.cpu())
    labels = torch.unique(torch.cat([mask.reshape(-1) for mask in plain]))
    return Players(tuple(torch.searchsorted(labels, mask.contiguous()) for mask in plain), (len(labels),), "segments")


def _one_value_each(players: Players, parts: Sequence[Tensor]) -> Float[Tensor, "B P"]:
    """The value that all elements of a part were given."""
    sizes = players.gather([torch.ones(1, *part.shape[1:], dtype=part.dtype, device=part.device) for part in parts])
    values = players.gather(parts) / sizes
    for site, part in enumerate(parts):
        if not torch.allclose(players.scatter(values, site).expand_as(part), part, rtol=1e-4, atol=1e-6 * float(part.abs().max())):
            raise InvalidInput(
                "the values differ within a part of feature_mask, so they were not made with it; leave it out, and sum with players="
            )
    return values


def read_shap(explanation: Any) -> dict[str, Any]:
    """Values, base, data and names of a ``shap.Explanation``, with the axis of samples in front of a single one's values.

    Raises:
        WrongType: no explanation.
        InvalidInput: of several outputs.
    """
    if not all(hasattr(explanation, name) for name in ("values", "base_values", "data", "feature_names")):
        raise WrongType(f"expected a shap.Explanation, not {type(explanation).__name__}; a bare array goes into Allocation.from_array")
    values, base = np.asarray(explanation.values), np.asarray(explanation.base_values if explanation.base_values is not None else np.nan)
    data = None if explanation.data is None else np.asarray(explanation.data)
    if data is not None and (data.dtype.kind not in "fiub" or data.ndim > values.ndim):
        data = None
    several = base.ndim == 2 and base.shape[1] > 1
    if several or (data is not None and values.ndim > data.ndim):
        raise InvalidInput(f"this explanation is of {values.shape[-1]} outputs; take one, explanation[..., output]")
    names = explanation.feature_names
    flat = values.ndim <= 2 and isinstance(names, (list, tuple, np.ndarray)) and len(names) == values.shape[-1]
    found = {"values": values.astype(float), "base": base.astype(float), "data": data}
    return {**found, "names": tuple(map(str, names)) if flat else ()}
