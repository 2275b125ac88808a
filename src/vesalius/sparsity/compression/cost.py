"""What a form of a network stores, computes and takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from torch import Tensor, nn

from vesalius.sparsity.compression.rebuild import tensor_of
from vesalius.sparsity.compression.sparse_linear import SparseLinear
from vesalius.trace.network import Network


@dataclass(frozen=True, kw_only=True)
class FormCost:
    """One row of the table.

    Attributes:
        form: its name.
        parameters: numbers stored as weights and biases.
        nonzeros: those of them that are not 0.
        memory: bytes of all parameters and buffers, indices of sparse layouts included.
        file: bytes of parameters and buffers on disk, without the header; of forms made here as
            :meth:`vesalius.sparsity.compact.Compact.export` writes them.
        flop: floating point operations of linear layers and convolutions for one sample, 2 per weight and position.
        seconds: of one call, the median, by batch size.
        least: the least in any round; what else runs on the machine can only add to it.
        ratio: the least time as a multiple of the reference's, by batch size.
        difference: from the masked model's output, as a share of its largest value.
    """

    form: str
    parameters: int
    nonzeros: int
    memory: int
    file: int
    flop: int
    seconds: Mapping[int, float]
    least: Mapping[int, float]
    ratio: Mapping[int, float]
    difference: float


def stored_parameters(model: nn.Module) -> list[Tensor]:
    """Weights and biases, each once; the values of sparse ones are buffers."""
    sparse = [module.values for module in model.modules() if isinstance(module, SparseLinear)]
    return [tensor.detach() for tensor in (*model.parameters(), *sparse)]


def memory_bytes(model: nn.Module) -> int:
    """Bytes of all parameters and buffers, indices among them."""
    return sum(tensor.nbytes for tensor in {id(one): one for one in (*model.parameters(), *model.buffers())}.values())


def count_flop(network: Network, model: nn.Module) -> int:
    """Operations for one sample.

    Args:
        network: traced from a model of this kind, for the number of positions that each layer is applied at.
        model: whose weights count.
    """
    total = 0
    for layer in network.layers.values():
        if layer.op == "embedding":
            continue
        name = layer.source if layer.op.startswith("conv_transpose") else layer.value
        channels = int(network.values[name].shape[layer.unit_axis] or 1)
        positions = prod(int(side or 1) for side in network.axes.values[name].shape) // channels
        total += 2 * positions * _stored_count(model, layer.weight, prod(layer.shape))
    return total


def _stored_count(model: nn.Module, name: str, otherwise: int) -> int:
    """Numbers stored of a weight."""
    path, _, _ = name.rpartition(".")
    places = (name, f"{name}_orig", f"{path}.values", f"graph_module.{name}")
    return next((tensor.numel() for place in places if (tensor := tensor_of(model, place)) is not None), otherwise)


def format_table(rows: Sequence[FormCost], chosen: str, reference: str) -> list[str]:
    """The table in words."""
    batches = list(rows[0].seconds) if rows else []
    head = f"  {'form':<11}{'parameters':>12}{'non-zeros':>12}{'memory':>11}{'file':>11}{'MFLOP':>9}"
    head += "".join(f"{f'us [least], b={batch}':>20}{f'x {reference}':>10}" for batch in batches)
    found = [head]
    for row in rows:
        line = f"{'*' if row.form == chosen else ' '} {row.form:<11}{row.parameters:>12,}{row.nonzeros:>12,}{_format_bytes(row.memory):>11}"
        line += f"{_format_bytes(row.file):>11}{row.flop / 1e6:>9.3g}"
        times = [f"{row.seconds[batch] * 1e6:.4g} [{row.least[batch] * 1e6:.4g}]" for batch in batches]
        found.append(line + "".join(f"{time:>20}{row.ratio[batch]:>10.2f}" for time, batch in zip(times, batches, strict=True)))
    return found


def _format_bytes(count: int) -> str:
    return f"{count / 1e6:.3g} MB" if count >= 1e6 else f"{count / 1e3:.3g} kB"
