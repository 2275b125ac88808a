"""What methods that propagate through the graph cost, against one forward and backward pass, and against captum and zennit.

Claims, at batch 16, everything included: the multiples of one forward and backward pass in ``COSTS``. On a spelling of ResNet-20 as
modules, which hook-based libraries need: at least 1.3 times as fast as captum's DeepLift; with 20 references at least 3 times as fast as
its DeepLiftShap, in at most half of its memory; at least twice as fast as zennit's EpsilonPlus.
"""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from captum.attr import DeepLift, DeepLiftShap
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))

import vesalius as vs
from benchmarks.timing import median_seconds, peak_megabytes, print_table
from tests.zoo import cifar_test_images, resnet20
from tests.zoo.cifar import BasicBlock, ResNet20
from tests.zoo.specimen import settle
from vesalius.games.absence import Marginal
from vesalius.methods import (
    DeepLIFTRescale,
    DeepLIFTRevealCancel,
    DeepSHAP,
    DeepTaylor,
    GradCAM,
    LRPAlphaBeta,
    LRPEpsilon,
    Method,
)

DATA = Path(os.environ["VESALIUS_DATA"])
BATCH, REFERENCES = 16, 20
COSTS: dict[str, tuple[Method, float]] = {
    "deeplift_rescale": (DeepLIFTRescale(), 2.5),
    "deeplift_revealcancel": (DeepLIFTRevealCancel(), 6),
    "deep_shap, exact": (DeepSHAP(variant="exact"), 10),
    "lrp_epsilon": (LRPEpsilon(), 2.5),
    "lrp_alpha_beta": (LRPAlphaBeta(), 5),
    "deep_taylor": (DeepTaylor(domain="unbounded"), 5),
    "grad_cam": (GradCAM(), 1.1),
}
"""Methods, and the multiple of a forward and backward pass that each may take."""

MEMORY = """
import os, sys, torch
from pathlib import Path
sys.path.insert(0, {root!r})
from benchmarks.rules import REFERENCES, DeepLiftShap, DeepLIFTRescale, Marginal, as_modules, images, resnet20, DATA, vs
model = as_modules(resnet20(DATA))
x, references = images()
network = vs.trace(model, x[:1])
target = torch.zeros(len(x), dtype=torch.long)
ours = lambda x, target, references: vs.attribute(network, x, DeepLIFTRescale(), target=target, baseline=Marginal(background=references))
theirs = lambda x, target, references: DeepLiftShap(model).attribute(x, references, target=target)
ours(x[:1], target[:1], references[:2])
theirs(x[:1], target[:1], references[:2])
def run(): {call}
"""


class Pooled(nn.Module):
    """The 6-layer encoder of ``tracing.py``, the mean over its tokens, and ten classes."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(256, 8, 1024, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
        self.head = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x).mean(1))


class ModuleBlock(nn.Module):
    """A block of ResNet-20 with a module for each ReLU."""

    def __init__(self, block: BasicBlock) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu1 = block.conv1, block.bn1, nn.ReLU()
        self.conv2, self.bn2, self.relu2 = block.conv2, block.bn2, nn.ReLU()
        self.shortcut = block.shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.relu2(self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))) + self.shortcut(x))


def as_modules(model: ResNet20) -> nn.Module:
    """The same network, every step a module that is called once."""
    model = copy.deepcopy(model).eval().requires_grad_(False)
    blocks = [ModuleBlock(block) for layer in (model.layer1, model.layer2, model.layer3) for block in layer]
    return nn.Sequential(model.conv1, model.bn1, nn.ReLU(), *blocks, nn.AvgPool2d(8), nn.Flatten(), model.linear).eval()


def images() -> tuple[Tensor, Tensor]:
    """Images, and others to compare them with."""
    x = cifar_test_images(DATA)[0]
    return x[:BATCH], x[BATCH : BATCH + REFERENCES]


def models() -> dict[str, tuple[nn.Module, Tensor]]:
    """Model and batch of inputs.

    Torch starts an encoder's biases at zero, so that a zero input gives zeros all the way and norms divide by the root of their eps:
    effects cancel to a thousandth and some samples are computed again in double precision. Hence a second encoder, with other biases.
    """
    torch.manual_seed(0)
    x = torch.randn(BATCH, 32, 256)
    encoder, settled = Pooled(), settle(Pooled(), 1.0)
    found = {"ResNet-20": (resnet20(DATA), images()[0]), "encoder": (encoder, x), "encoder, biases not zero": (settled, x)}
    return {name: (model.eval().requires_grad_(False), x) for name, (model, x) in found.items()}


def forward_backward(model: nn.Module, x: Tensor, classes: Tensor) -> Tensor:
    """One forward and backward pass."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x).gather(1, classes[:, None]).sum(), x)[0]


def cost_multiples(model: nn.Module, x: Tensor) -> dict[str, float]:
    """Time of each method, as a multiple of a forward and backward pass of the model itself."""
    with torch.no_grad():
        classes = model(x).argmax(1)
    network = vs.trace(model, x[:1])

    def run(method: Method) -> Callable[[], object]:
        return lambda: vs.attribute(network, x, method, target=classes)

    times = median_seconds(
        {"plain": lambda: forward_backward(model, x, classes)} | {name: run(method) for name, (method, _) in COSTS.items()}
    )
    return {name: times[name] / times["plain"] for name in COSTS}


def against_captum() -> None:
    """DeepLift with one reference and with many."""
    model = as_modules(resnet20(DATA))
    x, references = images()
    with torch.no_grad():
        classes = model(x).argmax(1)
    network = vs.trace(model, x[:1])
    background = Marginal(background=references)
    times = median_seconds(
        {
            "ours, 1": lambda: vs.attribute(network, x, "deeplift_rescale", target=classes),
            "captum DeepLift": lambda: DeepLift(model).attribute(x, target=classes),
            "ours, 20": lambda: vs.attribute(network, x, "deeplift_rescale", target=classes, baseline=background),
            "captum DeepLiftShap": lambda: DeepLiftShap(model).attribute(x, references, target=classes),
        }
    )
    one, many = times["captum DeepLift"] / times["ours, 1"], times["captum DeepLiftShap"] / times["ours, 20"]
    root = str(Path(__file__).parent.parent)
    mine, peer = (peak_megabytes(MEMORY.format(root=root, call=f"{who}(x, target, references)")) for who in ("ours", "theirs"))
    print_table(
        [
            ("1", times["ours, 1"], times["captum DeepLift"], one, "1.3", "", ""),
            (str(REFERENCES), times["ours, 20"], times["captum DeepLiftShap"], many, "3", round(mine), round(peer)),
        ],
        ("references", "ours s", "captum s", "x faster", "aimed at", "ours MB", "captum MB"),
    )
    ours = vs.attribute(network, x, "deeplift_rescale", target=classes).values
    theirs = DeepLift(model).attribute(x, target=classes).detach()
    print(f"largest difference of the maps, as a share of the largest value: {float((ours - theirs).abs().max() / theirs.abs().max()):.1e}")


def against_zennit() -> None:
    """LRP with epsilon on dense layers and z+ on convolutions."""
    # its import wants two classes of torchvision, whose PyPI build does not load beside a torch for CPUs; nothing here uses them
    stand_in: Any = ModuleType("torchvision.models.resnet")
    stand_in.Bottleneck = stand_in.BasicBlock = type("Unused", (), {})
    sys.modules |= {"torchvision": ModuleType("torchvision"), "torchvision.models": ModuleType("models"), stand_in.__name__: stand_in}
    from zennit.attribution import Gradient
    from zennit.canonizers import SequentialMergeBatchNorm
    from zennit.composites import EpsilonPlus

    model = as_modules(resnet20(DATA))
    x = images()[0]
    with torch.no_grad():
        classes = model(x).argmax(1)
    network = vs.trace(model, x[:1])
    chosen = nn.functional.one_hot(classes, 10).float()

    def theirs() -> Tensor:
        composite = EpsilonPlus(canonizers=[SequentialMergeBatchNorm()])
        with Gradient(model=model, composite=composite) as attributor:
            return attributor(x, chosen)[1]

    times = median_seconds(
        {"ours": lambda: vs.attribute(network, x, LRPEpsilon(composite="epsilon_plus"), target=classes), "zennit": theirs}
    )
    ratio = times["zennit"] / times["ours"]
    print(f"epsilon plus: ours {times['ours']:.2f} s, zennit {times['zennit']:.2f} s, {ratio:.2f} times as fast (aimed at: 2)")


def main() -> None:
    """Print the tables."""
    found = {name: cost_multiples(*pair) for name, pair in models().items()}
    rows: list[tuple[object, ...]] = [(name, *(each[name] for each in found.values()), bound) for name, (_, bound) in COSTS.items()]
    print_table(rows, ("method", *found, "aimed at"))
    against_captum()
    against_zennit()


if __name__ == "__main__":
    main()
