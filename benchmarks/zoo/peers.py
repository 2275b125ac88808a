"""captum's and zennit's completeness on the same models, from the zero baseline."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import captum.attr
import torch
from torch import Tensor, nn

from benchmarks.zoo.subject import Subject, in_words, pick, read_output

NAMES = ("captum DeepLift", "captum IntegratedGradients", "zennit EpsilonPlus")
STEPS = 50
"""captum's own default."""


class _Scored(nn.Module):
    """The explained number as a function of the first input alone: of the embedded words, where the model takes these."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self.model, self.subject = subject.model, subject

    def forward(self, x: Tensor) -> Tensor:
        given = self.subject
        if given.entry.embedded:
            found = self.model(inputs_embeds=x)
        else:
            args, kwargs = given.split((x, *(one[: len(x)] for one in given.inputs[1:])))
            found = self.model(*args, **kwargs)
        return pick(read_output(found, given.entry.output), given.target)[:, None]


def peers(subject: Subject) -> dict[str, Any]:
    """The largest share of the change that each misses; or what it raised."""
    x = subject.inputs[0]
    embed = getattr(subject.model, "get_input_embeddings", None)
    if subject.entry.embedded and embed is None:
        return dict.fromkeys(NAMES, "NotImplementedError: no embeddings in place of ids")
    if subject.entry.embedded:
        x = embed()(x).detach()
    deeplift = _share(subject, x, lambda model, x: captum.attr.DeepLift(model).attribute(x.clone(), torch.zeros_like(x), 0))
    gradients = _share(
        subject, x, lambda model, x: captum.attr.IntegratedGradients(model).attribute(x.clone(), torch.zeros_like(x), 0, n_steps=STEPS)
    )
    return dict(zip(NAMES, (deeplift, gradients, _share(subject, x, _zennit, of_output=True)), strict=True))


def _share(subject: Subject, x: Tensor, attribute: Callable[[nn.Module, Tensor], Tensor], *, of_output: bool = False) -> float | str:
    """What is missed, as a share of the change from zero, or of the output; or why it could not be had."""
    try:
        model = _Scored(subject)
        values = attribute(model, x).detach().flatten(1).sum(1)
        with torch.no_grad():
            whole = model(x)[:, 0] - (0 if of_output else model(torch.zeros_like(x))[:, 0])
    except Exception as error:
        return in_words(error)
    return float(((whole - values).abs() / whole.abs()).max())


def _zennit(model: nn.Module, x: Tensor) -> Tensor:
    attribution, composites = _load_zennit()
    with attribution.Gradient(model=model, composite=composites.EpsilonPlus(zero_params="bias")) as attributor:
        found: Tensor = attributor(x.clone(), torch.ones(len(x), 1))[1]
    return found


def _load_zennit() -> tuple[Any, Any]:
    """Its import wants two classes of torchvision, whose PyPI build does not load beside a torch for CPUs; nothing here uses them."""
    stand_in: Any = ModuleType("torchvision.models.resnet")
    stand_in.Bottleneck = stand_in.BasicBlock = type("Unused", (), {})
    missing = {"torchvision": ModuleType("torchvision"), "torchvision.models": ModuleType("models"), stand_in.__name__: stand_in}
    missing = {name: module for name, module in missing.items() if name not in sys.modules}
    sys.modules |= missing
    try:
        from zennit import attribution, composites
    finally:
        for name in missing:  # transformers asks whether it is there
            del sys.modules[name]
    return attribution, composites
