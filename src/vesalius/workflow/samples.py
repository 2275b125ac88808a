"""The samples a job is about."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vesalius.trace.network import Network


@dataclass(frozen=True, eq=False, kw_only=True)
class Samples:
    """Rows of DATA.

    Attributes:
        x: the chosen rows [rows *event], floating or int64.
        rows: their positions in DATA.
        of: rows in DATA.
        y: class of each chosen row, or ``None`` where that is unknown.
        labels: the label of each chosen row in words, or empty.
        classes: names of the classes, or empty.
        features: names of the elements of a row, or empty.
        files: name of the file of each chosen row, where rows are files.
        mean: mean of all rows, if it was wanted.
        background: rows to compare with [rows *event], if they were wanted.
        flow: rows to measure the flow of information on, if they were wanted.
        ordered: whether the order of ``classes`` is known to be the model's; else they are in alphabetical order.
    """

    x: Tensor
    rows: tuple[int, ...]
    of: int
    y: Int[Tensor, " rows"] | None = None
    labels: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    mean: Float[Tensor, "*event"] | None = None
    background: Tensor | None = None
    flow: Tensor | None = None
    ordered: bool = True


def to_model_dtype(network: Network, x: Tensor) -> Tensor:
    """Samples in the floating dtype the network was traced with; whole numbers stay as they are."""
    wanted: torch.dtype = getattr(torch, network.inputs[0].dtype)
    return x.to(wanted) if x.is_floating_point() and wanted.is_floating_point else x
