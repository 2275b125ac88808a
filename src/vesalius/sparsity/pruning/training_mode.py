"""What needs the model itself in training mode: fine-tuning with dropout and statistics of the batch, and batch norms measured anew.

Axes: B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vesalius.core.errors import InvalidInput
from vesalius.core.random_state import RandomState
from vesalius.sparsity.pruning.masked_copy import copy_model
from vesalius.trace.network import Network

STATISTICS_BATCH = 128
"""Samples of a batch that statistics are measured on; the mean over batches is kept."""

BatchLossFunction = Callable[[Tensor, tuple[Tensor, ...], Any], Tensor]
"""From output, inputs and labels of a batch to one number."""


def train_in_training_mode(
    pruned: Network,
    masks: Mapping[str, Bool[Tensor, "..."]],
    batches: Iterable[tuple[tuple[Tensor, ...], Any, float]],
    loss: BatchLossFunction,
    seed: int,
) -> None:
    """Train all parameters that ask for gradients, the model in training mode; links that were cut stay 0.

    Args:
        pruned: a copy, its weights masked; parameters and statistics are written into it.
        masks: of weights, by name.
        batches: inputs, labels and rate of each step.
        loss: of a batch.
        seed: of what the model draws.

    Raises:
        InvalidInput: a network that was loaded from a file; no parameter asks for gradients; training diverged.
    """
    call, model = copy_model(pruned)
    named = {name: one for name, one in model.named_parameters(remove_duplicate=False) if one.requires_grad}
    if not named:
        raise InvalidInput("fine-tuning in training mode trains the parameters that ask for gradients, and none does; use train=False")
    optimiser = torch.optim.Adam(list({id(one): one for one in named.values()}.values()))
    kept = [(named[name], mask) for name, mask in masks.items() if name in named]
    model.train()
    with RandomState(), torch.enable_grad():
        torch.manual_seed(seed)
        for inputs, labels, rate in batches:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.zero_grad()
            loss(replace(call, model=model).run(inputs), inputs, labels).backward()
            for weight, mask in kept:
                if weight.grad is not None:
                    weight.grad *= mask
            optimiser.step()
    if not all(bool(one.isfinite().all()) for one in named.values()):
        raise InvalidInput("fine-tuning diverged; use a lower rate")
    _write_back(pruned, model)


@torch.no_grad()
def measure_batch_norms(pruned: Network, samples: tuple[Tensor, ...]) -> None:
    """Statistics of all batch norms anew, of what the layers before now give; all else is as when the network is not trained.

    Args:
        pruned: a copy; statistics are written into it.
        samples: inputs.

    Raises:
        InvalidInput: a network that was loaded from a file; there is no batch norm that keeps statistics.
    """
    call, model = copy_model(pruned)
    norms = [one for one in model.modules() if isinstance(one, _BatchNorm) and one.track_running_stats]
    if not norms:
        raise InvalidInput(f"{pruned.name} has no batch norm whose statistics could be measured anew; leave batch_norm=False")
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with RandomState():
        for start in range(0, len(samples[0]), STATISTICS_BATCH):
            part = [one[start : start + STATISTICS_BATCH] for one in samples]
            if len(part[0]) > 1:
                replace(call, model=model).run(part)
    _write_back(pruned, model)


@torch.no_grad()
def _write_back(pruned: Network, model: nn.Module) -> None:
    """The model's parameters and buffers, into the network."""
    known = dict(model.named_buffers(remove_duplicate=False)) | dict(model.named_parameters(remove_duplicate=False))
    for name in known.keys() & pruned.parameters.keys():
        pruned.parameters[name].copy_(known[name])
