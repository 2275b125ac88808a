"""The words of ``vesalius survey``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class SurveyWords:
    """Ask one question of every row of a data set: a page (report.html), summary.json, and a folder with the values of all rows."""

    model: tyro.conf.Positional[str]
    """file.py:factory or package.module:factory, a function that returns a torch.nn.Module; a *.safetensors written by Network.save; or an
    exported *.pt2."""
    data: tyro.conf.Positional[Path]
    """*.npz or *.safetensors (arrays x and, if known, y), *.npy, *.csv or *.parquet with named columns, or a folder of pictures."""
    out: Path
    """Folder to write to. What is finished there is not computed again."""
    method: str = "integrated_gradients"
    """Attribution method, or interactions."""
    target: str = "predicted"
    """Class to explain: predicted, true (the label), a number, or a name."""
    baseline: str = "zero"
    """What masked features are replaced by: zero, the mean of DATA, or (pictures) a blur of the row itself."""
    engine: str = "local"
    """Where the rows are computed: local, or ray (actors on the cluster of RAY_ADDRESS, or of this machine)."""
    workers: int | None = None
    """Workers of --engine ray; by default one per GPU, or per processor."""
    batch: int = 64
    """Rows that are computed at once."""
    weights: Path | None = None
    """Parameters for the factory's module: *.safetensors, or a state dict or checkpoint (*.pt, *.ckpt; read without running code), of
    DataParallel, torch.compile or Lightning too: what the names begin with is found.
    """
    output: str | None = None
    """Which part of the model's result to explain, where it is not a single tensor: a key or a position."""
    at: str | None = None
    """An inner value to explain instead of the input, such as an embedding."""
    label: str | None = None
    """Column (csv, parquet) or array (npz, safetensors) of labels."""
    labels: Path | None = None
    """File of labels, one per row of DATA: *.npy or text."""
    names: str | None = None
    """Names of the classes in the model's order: a,b,c or a file with one per line."""
    features: str | None = None
    """Names of the elements of a row, likewise."""
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
    device: str = "cpu"
    """Where to run: cpu, cuda, mps."""
    trust: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Read a *.pt2 file, or a checkpoint with more in it than tensors, although it can run code."""
