"""What a specimen is: a model as a user would write it, how to build it, and what to feed it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Inputs = tuple[tuple[Tensor, ...], dict[str, Tensor]]


@dataclass(frozen=True)
class Specimen:
    """One model of the zoo.

    Attributes:
        name: unique, usable as a test id.
        build: a fresh module in train mode, float32, bitwise the same at every call; the global random state is left alone.
        inputs: ``inputs(batch, dtype, generator)`` gives ``(args, kwargs)``; ``dtype`` is that of the floating inputs.
        output: the field of the model's result that holds the scores; None if the result is the tensor itself.
        classes: width of the scores, [batch, classes].
        exportable: False if ``torch.export`` must refuse it.
        integer_at: module path of the embedding that turns integer ids into floats; None if all inputs are floating.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[int, torch.dtype, torch.Generator], Inputs]
    output: str | None = None
    classes: int = 5
    exportable: bool = True
    integer_at: str | None = None

    def example(self, batch: int = 2, dtype: torch.dtype = torch.float32, seed: int = 0) -> Inputs:
        """A batch of inputs drawn with a generator of its own."""
        return self.inputs(batch, dtype, torch.Generator().manual_seed(seed))

    def scores(self, result: Any) -> Tensor:
        """The scores within what the model returned."""
        return result if self.output is None else getattr(result, self.output)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within the block the CPU's default generator starts at ``seed``; afterwards it is where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also reseed every accelerator
        yield


def grown(factory: Callable[[], nn.Module], seed: int, gain: float = 2.5) -> Callable[[], nn.Module]:
    """A builder of ``factory()`` with random weights, none of its parameters or statistics trivially zero or one.

    Weight matrices are multiplied by ``gain``; the default takes PyTorch's initial scale, 1/sqrt(3 fan_in), to about that of He,
    so that the scores depend on the input and not on the biases alone.
    """

    def build() -> nn.Module:
        with seeded(seed):
            return settle(factory(), gain)

    return build


@torch.no_grad()
def settle(model: nn.Module, gain: float) -> nn.Module:
    """Scales the weight matrices and fills what initialisation leaves at zero or one: biases, affine parameters, running statistics.

    A bias of zero hides a lost bias, and a batch norm that is the identity hides one applied twice.
    """
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if "Norm" in type(module).__name__ and name == "weight":  # users write norms of their own
                parameter.uniform_(0.6, 1.4)
            elif isinstance(module, nn.PReLU):
                parameter.uniform_(0.1, 0.4)
            elif "weight" in name:
                parameter.mul_(gain)
            elif "bias" in name:
                parameter.normal_(0, 0.2)
        if getattr(module, "running_mean", None) is not None:
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
            module.num_batches_tracked.fill_(7)
    return model


def images(channels: int, size: int) -> Callable[[int, torch.dtype, torch.Generator], Inputs]:
    """Inputs that are one batch of square images: a colour per image plus noise, so that a mean over pixels still varies."""

    def draw(batch: int, dtype: torch.dtype, generator: torch.Generator) -> Inputs:
        return (coloured(batch, channels, size, dtype, generator),), {}

    return draw


def floats(*event: int) -> Callable[[int, torch.dtype, torch.Generator], Inputs]:
    """Inputs that are one batch of floats of the given event shape, standard normal."""

    def draw(batch: int, dtype: torch.dtype, generator: torch.Generator) -> Inputs:
        return (normal((batch, *event), dtype, generator),), {}

    return draw


def coloured(batch: int, channels: int, size: int, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """Square images of unit variance, half of it between and half within the channels."""
    colour = normal((batch, channels, 1, 1), torch.float64, generator)
    return ((colour + normal((batch, channels, size, size), torch.float64, generator)) / 2**0.5).to(dtype)


def normal(shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """Standard normal values that are the same in every dtype, up to its rounding."""
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
