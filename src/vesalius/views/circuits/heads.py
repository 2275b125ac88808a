"""Tables of layers by heads: what there is to draw of values that have two axes and divide no image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vesalius.core.allocation import Allocation
from vesalius.core.errors import WrongType
from vesalius.views.chart_data import is_layer_table, require_single_sample, values_of


@dataclass(frozen=True, eq=False)
class HeadTable:
    """Values by layer and head.

    Attributes:
        values: [layers heads], in the output's unit.
        rows: names of the layers.
        columns: of heads, experts or positions.
    """

    values: Float[ndarray, "layers heads"]
    rows: tuple[str, ...]
    columns: tuple[str, ...]


def head_table(allocation: Allocation) -> HeadTable:
    """The values of one sample as a table.

    Raises:
        WrongType: no table of layers.
        InvalidInput: a batch.
    """
    require_single_sample(allocation, "a table of heads")
    if allocation.coalitions is not None or not is_layer_table(allocation.players):
        raise WrongType(f"{allocation.players} are no table of layers; draw them as bars: vesalius.views.charts.plot_bars")
    rows, columns = allocation.players.shape
    names = np.array(allocation.players.names).reshape(rows, columns)
    mark = "@" if allocation.players.kind == "residual" else {"heads": "H", "experts": "E"}[allocation.players.kind]
    return HeadTable(
        np.asarray(values_of(allocation)).reshape(rows, columns),
        tuple(str(name).rpartition(mark)[0] for name in names[:, 0]),
        tuple(f"{'' if mark == '@' else mark}{str(name).rpartition(mark)[2]}" for name in names[0]),
    )
