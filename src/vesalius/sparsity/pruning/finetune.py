"""Training of the links that are left.

Axes: B batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Sized
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn.functional import mse_loss

from vesalius.core.errors import InvalidInput
from vesalius.core.rows import is_batches
from vesalius.sparsity.links import Links
from vesalius.sparsity.pruning.loss import evaluate_loss
from vesalius.sparsity.pruning.training_mode import train_in_training_mode
from vesalius.sparsity.pruning_options import Finetune
from vesalius.trace.batches import Data, count_rows, iterate_labelled
from vesalius.trace.network import Network


def finetune(
    pruned: Network,
    links: Sequence[Links],
    masks: Mapping[str, Bool[Tensor, "..."]],
    data: Data,
    how: Finetune,
    labels: Tensor | None = None,
) -> None:
    """Train weights and biases of the pruned layers in place, as when the network is not trained; links that were cut stay 0.

    With ``train=True`` all parameters are trained, and the model is in training mode.

    Args:
        pruned: a copy, its weights masked.
        links: of the pruned layers, in the network before.
        masks: of parameters, by their names.
        data: all of it is used.
        how: options.
        labels: of rows; batches have their own.

    Raises:
        InvalidInput: no links; batches of unknown number; training diverged.
    """
    if not links:
        raise InvalidInput("fine-tuning trains linear layers and convolutions, and no such layer was pruned; leave finetune= out")
    dense = links[0].network
    kept = {name: mask.to(pruned.parameters[name].device) for name, mask in masks.items() if name in pruned.parameters}
    if how.train:
        steps = _scheduled_steps(dense, data, labels, how)
        train_in_training_mode(pruned, kept, steps, lambda *given: _loss(dense, how, *given), how.seed)
        return
    names = list(dict.fromkeys(name for one in links for layer in one.layers for name in (layer.weight, layer.bias) if name))
    learnt = [pruned.parameters[name].detach().clone().requires_grad_() for name in names]
    program = pruned.program([*names, *(value.name for value in pruned.inputs)], [pruned.graph("training").output])
    optimiser = torch.optim.Adam(learnt, how.rate)
    for inputs, given, rate in _scheduled_steps(dense, data, labels, how):
        for group in optimiser.param_groups:
            group["lr"] = rate
        with torch.enable_grad():
            slopes = torch.autograd.grad(_loss(dense, how, program(*learnt, *inputs)[0], inputs, given), learnt)
        for name, one, slope in zip(names, learnt, slopes, strict=True):
            one.grad = slope * kept[name] if name in kept else slope
        optimiser.step()
    if not all(bool(one.isfinite().all()) for one in learnt):
        raise InvalidInput(f"fine-tuning diverged; use a lower rate than {how.rate}")
    for name, one in zip(names, learnt, strict=True):
        pruned.parameters[name].copy_(one.detach())


def _scheduled_steps(dense: Network, data: Data, labels: Tensor | None, how: Finetune) -> Iterator[tuple[tuple[Tensor, ...], Any, float]]:
    """Inputs, labels and learning rate of every step; progress is told after each epoch."""
    steps, done = how.epochs * _steps_per_epoch(data, how), 0
    for epoch in range(how.epochs):
        for inputs, given in _shuffled_batches(dense, data, labels, how, epoch):
            yield inputs, given, how.rate * (1 + math.cos(math.pi * min(1.0, done / steps))) / 2
            done += 1
        if how.report is not None:
            how.report(epoch + 1, how.epochs)


def _loss(dense: Network, how: Finetune, output: Tensor, inputs: tuple[Tensor, ...], labels: Any) -> Tensor:
    """The user's loss, or the squared difference from the dense network's output."""
    return evaluate_loss(how.loss, output, inputs, labels) if how.loss else mse_loss(output, _dense_output(dense, inputs))


@torch.no_grad()
def _dense_output(dense: Network, inputs: tuple[Tensor, ...]) -> Tensor:
    return dense.run(inputs)


def _steps_per_epoch(data: Data, how: Finetune) -> int:
    """Steps of an epoch."""
    if not is_batches(data):
        return math.ceil(count_rows(data) / how.batch)
    if not isinstance(data, Sized):
        raise InvalidInput("fine-tuning needs to know how many batches there are; give a DataLoader of known length, a list, or tensors")
    return len(data)


def _shuffled_batches(
    network: Network, data: Data, labels: Tensor | None, how: Finetune, epoch: int
) -> Iterator[tuple[tuple[Tensor, ...], Any]]:
    """Inputs and labels of batches: of tensors in an order drawn anew, others in the order they come."""
    if is_batches(data):
        yield from iterate_labelled(network, data, size=how.batch)
        return
    inputs = network.bind(data)
    generator = torch.Generator().manual_seed(how.seed * 1_000_003 + epoch)
    for places in torch.randperm(len(inputs[0]), generator=generator).split(how.batch):
        given = None if labels is None else labels[places.to(labels.device)].to(inputs[0].device)
        yield tuple(part[places.to(part.device)] for part in inputs), given
