"""The words of ``vesalius sparsify``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class Sparsify:
    """Prune the connections a model does not need: the smaller model, a page (report.html), and summary.json."""

    model: tyro.conf.Positional[str]
    """file.py:factory or package.module:factory, a function that returns a torch.nn.Module."""
    data: tyro.conf.Positional[Path]
    """Rows to prune by, some thousands: *.npz or *.safetensors (arrays x and, if known, y), *.npy, *.csv or *.parquet, or a folder of
    pictures."""
    out: Path
    """Folder to write to."""
    sparsity: float = 0.9
    """Share of the connections that is pruned."""
    level: float | None = None
    """Share of each layer's importance that is kept by the fewest connections, instead of --sparsity."""
    mode: str = "refit"
    """refit: cut links layer by layer, refitting the rest by least squares; paper: prune once (one-shot)."""
    score: str | None = None
    """shapley, shapley_zero, gate, magnitude, wanda, linear, taylor or random; by default gate to refit, shapley as in the paper."""
    layers: tuple[str, ...] = ()
    """Layers to prune; all linear ones and convolutions by default."""
    finetune: int = 0
    """Epochs of fine-tuning of what is left, towards the outputs of the dense model (distillation)."""
    test: Path | None = None
    """Rows to evaluate on, in the form of DATA; those of DATA by default."""
    shape: str | None = None
    """height,width or channels,height,width of the picture that a flat row is."""
    write: str = "weights"
    """What the smaller model is written as: weights (pruned.safetensors), program (pruned.pt2) or onnx (pruned.onnx)."""
    weights: Path | None = None
    """Parameters for the factory's module: *.safetensors, or a state dict or checkpoint (*.pt, *.ckpt; read without running code), of
    DataParallel, torch.compile or Lightning too: what the names begin with is found.
    """
    output: str | None = None
    """Which part of the model's result is meant, where it is not a single tensor: a key or a position."""
    label: str | None = None
    """Column (csv, parquet) or array (npz, safetensors) of labels."""
    names: str | None = None
    """Names of the classes in the model's order: a,b,c or a file with one per line."""
    size: int | None = None
    """Resize pictures to SIZE x SIZE pixels, whatever their proportions."""
    resize: int | None = None
    """Resize pictures so that their shorter side has RESIZE pixels."""
    crop: int | None = None
    """Keep the middle CROP x CROP pixels of pictures, after --resize."""
    normalize: str | None = None
    """What becomes of pixels, which are read from 0 to 1: imagenet (mean and deviation that nearly all ImageNet weights expect), MEAN:STD
    ((pixel - mean) / std: 0.5:0.5, or three numbers each with commas), a preprocessor_config.json of Hugging Face, or none.
    """
    seed: int = 0
    """Seed of whatever is drawn at random."""
    device: str = "cpu"
    """Where to run: cpu, cuda, mps."""
    trust: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Read a *.pt2 file, or a checkpoint with more in it than tensors, although it can run code."""
