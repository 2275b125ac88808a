"""A small autoencoder of images that two numbers make, trained and pruned."""

from functools import cache

import torch

import vesalius as vs
from vesalius.models import Autoencoder, AutoencoderTraining, fit
from vesalius.sparsity.pruning_options import Pruning
from vesalius.sparsity.unstructured_pruning import sparsify


def images(count=64):
    draws = torch.Generator().manual_seed(3)
    mixed = torch.rand(2, 16, generator=draws)
    return torch.rand(count, 2, generator=draws) @ mixed / 2


@cache
def trained():
    return fit(Autoencoder([16, 6, 3]), images(500), training=AutoencoderTraining(epochs=40, rate=1e-2, batch=32)).model


@cache
def pruned(mode="paper", score="magnitude"):
    return sparsify(trained(), images(), sparsity=0.6, mode=mode, pruning=Pruning(score=score, rounds=2))


@cache
def picked():
    """A layer of three units whose importance is known: unit 2 has no link left, input 3 none either."""
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[8.0, 0, -4, 0], [0, 6, 0, 0], [0, 0, 0, 0.5]]))
        model[2].weight.copy_(torch.tensor([[2.0, 0, 0.1], [0, 3, 0.2]]))
    network = vs.trace(model, images()[:2, :4])
    return sparsify(network, images()[:, :4], sparsity={"0": 0.75, "2": 0.5}, mode="paper", pruning=Pruning(score="magnitude"))
