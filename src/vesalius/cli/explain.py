"""The words of ``vesalius explain``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class Explain:
    """Explain decisions of a model: a page (report.html), one file per method, and summary.json."""

    model: tyro.conf.Positional[str]
    """file.py:factory or package.module:factory, a function that returns a torch.nn.Module; a *.safetensors written by Network.save; or an
    exported *.pt2."""
    data: tyro.conf.Positional[Path]
    """With --tokenizer, texts: *.txt (one per line), *.jsonl or *.csv with a column of texts. Else *.npz or *.safetensors (arrays x
    and, if known, y), *.npy, *.csv or *.parquet with named columns, or a folder of pictures."""
    out: Path
    """Folder to write to. What is finished there is not computed again."""
    methods: tuple[str, ...] = ("integrated_gradients", "shapley_value", "occlusion", "gradient_x_input")
    """Methods to run, in the order they are shown."""
    rows: str = "0:8"
    """Rows to explain: 0:8, 5, -3: or 1,4,9."""
    target: str = "predicted"
    """Class to explain: predicted, true (the label), a number, or a name."""
    baseline: str = "zero"
    """What masked features are replaced by: zero (black; with --normalize the mean colour), the mean of DATA, a background of rows of DATA
    that is averaged over (rows:0:20), or (pictures) a blur of the row itself.
    """
    players: str = "auto"
    """What is masked as a whole (the players of the game): auto, features, channels, tokens or patches:N (N x N pixels)."""
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
    audit: str = ""
    """Rows to audit, among those explained: 3 or 0,4. Interactions (Harsanyi dividends) of such a row are computed, and every method is
    tested on masked versions of it: completeness, null players, over-counting; of more than 12 patches of a picture, by 3 x 3 larger ones.
    """
    flow: str = ""
    """Rows of DATA on which information flow is measured, the mutual information between units of one layer and the next: some hundreds,
    or : for all.
    """
    complexity: str = ""
    """A value of the model, such as a layer, whose feature is disentangled into components by the number of nonlinear layers that they
    take to compute: half a minute or so for a small model. With labels, also the effectiveness and over-fitting of each component.
    """
    train: Path | None = None
    """Rows the model was trained on, in the form of DATA, with their labels: they are then disentangled, and DATA shows over-fitting."""
    labels: Path | None = None
    """File of labels, one per row of DATA: *.npy or text."""
    names: str | None = None
    """Names of the classes in the model's order: a,b,c or a file with one per line."""
    features: str | None = None
    """Names of the elements of a row, likewise."""
    tokenizer: Path | None = None
    """Of a model that takes texts: a tokenizer.json, or a folder with one (read by transformers). DATA then holds texts; --baseline may
    be pad, mask, delete or a token, --players tokens, words or sentences, --target a token of a language model."""
    text: str | None = None
    """Column of a *.csv or *.jsonl file that holds the texts; by default "text", or the only column that is not the label."""
    generate: int | None = None
    """Explain each of so many tokens that a language model puts behind the one text."""
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
    tol: float = 1e-2
    """Relative error of the map of integrated and expected gradients at which they stop (of an untraced model: completeness error)."""
    budget: int | None = None
    """Evaluations of the model per row for Shapley values. Up to 12 players, all coalitions are evaluated by default."""
    seed: int = 0
    """Seed of whatever is drawn at random."""
    device: str = "cpu"
    """Where to run: cpu, cuda, mps."""
    trust: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Read a *.pt2 file, or a checkpoint with more in it than tensors, although it can run code."""
