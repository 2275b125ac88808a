"""The words of ``vesalius explore``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class Explore:
    """Serve a page on this machine on which samples can be changed, and a model, or two side by side, asked about them.

    The address that is printed holds a random token: whoever knows it may ask. Ctrl-C ends it.
    """

    model: tyro.conf.Positional[str]
    """file.py:factory or package.module:factory, a function that returns a torch.nn.Module; a *.safetensors written by Network.save; or an
    exported *.pt2."""
    data: tyro.conf.Positional[Path]
    """With --tokenizer, texts: *.txt (one per line), *.jsonl or *.csv with a column of texts. Else *.npz or *.safetensors (arrays x
    and, if known, y), *.npy, *.csv or *.parquet with named columns, or a folder of pictures."""
    rows: str = "0:64"
    """Rows to choose from: 0:64, 5, -3: or 1,4,9."""
    beside: str | None = None
    """A second model of the same input, shown beside the first."""
    beside_weights: Path | None = None
    """Parameters for the factory of --beside, as --weights."""
    weights: Path | None = None
    """Parameters for the factory's module: *.safetensors, or a state dict or checkpoint (*.pt, *.ckpt; read without running code), of
    DataParallel, torch.compile or Lightning too: what the names begin with is found.
    """
    output: str | None = None
    """Which part of the model's result to explain, where it is not a single tensor: a key or a position."""
    label: str | None = None
    """Column (csv, parquet) or array (npz, safetensors) of labels."""
    labels: Path | None = None
    """File of labels, one per row of DATA: *.npy or text."""
    names: str | None = None
    """Names of the classes in the model's order: a,b,c or a file with one per line."""
    features: str | None = None
    """Names of the elements of a row, likewise."""
    tokenizer: Path | None = None
    """Of a model that takes texts: a tokenizer.json, or a folder with one (read by transformers). DATA then holds texts."""
    text: str | None = None
    """Column of a *.csv or *.jsonl file that holds the texts; by default "text", or the only column that is not the label."""
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
    port: int = 0
    """Port to listen on; 0 for any that is free."""
    seconds: float = 60.0
    """Seconds after which a computation is stopped."""
    device: str = "cpu"
    """Where to run: cpu, cuda, mps."""
    trust: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Read a *.pt2 file, or a checkpoint with more in it than tensors, although it can run code."""
