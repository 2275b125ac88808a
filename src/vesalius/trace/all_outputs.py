"""A model with several outputs as one network of all of them, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from vesalius.trace.network import Network
from vesalius.trace.signature import ModelCall, SeveralOutputs
from vesalius.trace.trace import trace_call


def with_all_outputs(network: Network, rows: Sequence[Tensor]) -> Network:
    """A network of everything that a model returns with a row for each sample; the network itself where that is what it gives.

    What leads to one of several outputs may be read on the way to another, which the graph of the first does not hold.

    Args:
        network: traced from a model.
        rows: some inputs.

    Raises:
        InvalidInput: a model whose outputs together cannot be traced.
    """
    call = network.call
    if call is None or call.output is None or isinstance(call.output, tuple):
        return network
    some = tuple(part[:2] for part in rows)
    every = _outputs_of(replace(call, output=None, function=None), some)
    if every in ((), (str(call.output),)):
        return network
    found = trace_call((replace(call, output=every, function=None), some))
    found.graph("following units to all outputs")
    return found


@torch.no_grad()
def _outputs_of(call: ModelCall, rows: Sequence[Tensor]) -> tuple[str, ...]:
    """Names of what a model returns with a row for each sample; none where it is one tensor."""
    try:
        call.evaluate(rows)
    except SeveralOutputs as error:
        return error.outputs
    return ()
