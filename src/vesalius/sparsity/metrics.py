"""How good an autoencoder still is. Four numbers go by the name of accuracy, and they do not agree.

- **Reconstruction error**, beside the error of always answering the mean row: without that yardstick an error says nothing.
- **Fixed probe**: a linear classifier fitted on latents of the dense network, applied to latents of the pruned one. It asks whether the
  latents *are what they were*. This is what we call accuracy.
- **Refitted probe**: fitted on latents of the pruned network. It asks whether the classes can still be told apart, which a random mask
  that cuts 90 % of the links passes, too: it hides damage.
- **Classifier on reconstructions**: trained on rows, applied to what comes out.

Axes: N rows, D width of a row, H width of the latent, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vesalius.core.errors import InvalidInput

ROWS_AT_ONCE = 4096
"""Rows that are computed together."""
MIN_SPREAD = 1e-3
"""Spread of a latent, in units of that of all of them, below which it is not stretched further."""

RowFunction = Callable[[Tensor], Tensor]
LabelledRows = tuple[Float[Tensor, "N D"], Int[Tensor, " N"]]


@torch.no_grad()
def apply_in_batches(function: RowFunction, x: Float[Tensor, "N *event"]) -> Float[Tensor, "N ..."]:
    """A function of rows on many of them, in parts.

    Raises:
        InvalidInput: no rows.
    """
    if len(x) == 0:
        raise InvalidInput("no rows came, so there is nothing to measure")
    return torch.cat([function(part) for part in x.split(ROWS_AT_ONCE)])


def reconstruction_error(model: RowFunction, x: Float[Tensor, "N D"]) -> float:
    """Mean squared error per element.

    Args:
        model: from rows to rows.
        x: rows.

    Raises:
        InvalidInput: no rows; the model's output is not of the rows' shape.
    """
    found = apply_in_batches(model, x)
    if found.shape != x.shape:
        raise InvalidInput(
            f"rows have shape {list(x.shape[1:])}, the output {list(found.shape[1:])}; an autoencoder gives back what it gets"
        )
    return float((found - x).double().square().mean())


def mean_row_error(x: Float[Tensor, "N D"], seen: Float[Tensor, "M D"]) -> float:
    """Error of always answering the mean row: what any reconstruction error has to be compared with.

    Args:
        x: rows.
        seen: rows that the mean is of, such as those trained on.
    """
    return float((x - seen.mean(0)).double().square().mean())


def psnr(error: float, peak: float = 1.0) -> float:
    """Peak signal-to-noise ratio in decibels, of a mean squared error; infinite at 0.

    Args:
        error: per element.
        peak: largest value an element can have.
    """
    if error < 0 or peak <= 0:
        raise InvalidInput(f"an error is at least 0 and a peak above it, not {error} and {peak}")
    return 10 * math.log10(peak**2 / error) if error else math.inf


@dataclass(frozen=True, eq=False, kw_only=True)
class Probe:
    """Multinomial logistic regression on standardised latents.

    Attributes:
        mean, scale: of the latents it was fitted on.
        weight, bias: per class.
    """

    mean: Float[Tensor, " H"]
    scale: Float[Tensor, " H"]
    weight: Float[Tensor, "K H"]
    bias: Float[Tensor, " K"]

    @classmethod
    def fit(cls, latents: Float[Tensor, "N H"], y: Int[Tensor, " N"], *, penalty: float = 1e-4, steps: int = 60) -> Probe:
        """Fitted by L-BFGS.

        Args:
            latents: of rows.
            y: their classes, from 0 up.
            penalty: weight of the squared weights in the loss.
            steps: at most.

        Raises:
            InvalidInput: other numbers of rows and labels, fewer than two classes.
        """
        if len(latents) != len(y):
            raise InvalidInput(f"{len(y)} labels came for {len(latents)} rows")
        if len(y) == 0 or int(y.min()) == int(y.max()):
            raise InvalidInput("a probe tells classes apart; rows of at least two classes are needed")
        latents = latents.detach()
        mean, spread = latents.mean(0), latents.std(0)
        scale = spread + MIN_SPREAD * latents.std() + 1e-9
        z = (latents - mean) / scale
        weight = z.new_zeros(int(y.max()) + 1, z.shape[1]).requires_grad_()
        bias = z.new_zeros(len(weight)).requires_grad_()
        optimiser = torch.optim.LBFGS([weight, bias], max_iter=steps, history_size=10, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimiser.zero_grad()
            found = nn.functional.cross_entropy(z @ weight.T + bias, y) + penalty * weight.square().sum()
            found.backward()
            return found

        with torch.enable_grad():
            optimiser.step(loss)
        return cls(mean=mean, scale=scale, weight=weight.detach(), bias=bias.detach())

    def accuracy(self, latents: Float[Tensor, "N H"], y: Int[Tensor, " N"]) -> float:
        """Share of rows whose class it tells."""
        return float((self.scores(latents.detach()).argmax(1) == y).double().mean())

    def scores(self, latents: Float[Tensor, "N H"]) -> Float[Tensor, "N K"]:
        """Logits of the classes."""
        return (latents - self.mean) / self.scale @ self.weight.T + self.bias


@dataclass(frozen=True, kw_only=True)
class AutoencoderQuality:
    """What an autoencoder is still good for, on test rows.

    Attributes:
        error: mean squared error per element.
        mean_row: error of always answering the mean row.
        psnr: of ``error``, in decibels.
        fixed_probe: share of rows whose class the dense network's probe tells from these latents; this is what we call accuracy.
        refitted_probe: the same with a probe fitted on these latents.
        on_reconstructions: share of rows whose class a classifier of rows tells from their reconstructions; NaN without one.
    """

    error: float
    mean_row: float
    psnr: float
    fixed_probe: float
    refitted_probe: float
    on_reconstructions: float = math.nan

    def __repr__(self) -> str:
        more = "" if math.isnan(self.on_reconstructions) else f", classifier on reconstructions {self.on_reconstructions:.3f}"
        return (
            f"AutoencoderQuality(error {self.error:.4f} against {self.mean_row:.4f} of the mean row, {self.psnr:.1f} dB;"
            f" probe {self.fixed_probe:.4f},"
            f" refitted {self.refitted_probe:.4f}{more})"
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class AutoencoderEvaluator:
    """What autoencoders are measured against: a dense one, and rows with classes.

    Attributes:
        train, test: rows and their classes.
        probe: fitted on latents of the dense network's training rows.
        classifier: from rows to scores of classes; optional.
    """

    train: LabelledRows
    test: LabelledRows
    probe: Probe
    classifier: RowFunction | None = None

    @classmethod
    def of(cls, dense: nn.Module, train: LabelledRows, test: LabelledRows, classifier: RowFunction | None = None) -> AutoencoderEvaluator:
        """Fit the probe on a dense autoencoder that has ``encode``."""
        return cls(train=train, test=test, probe=Probe.fit(apply_in_batches(_encoder(dense), train[0]), train[1]), classifier=classifier)

    def quality(self, model: nn.Module) -> AutoencoderQuality:
        """Measure an autoencoder that has ``encode``; pass the dense one for its own numbers."""
        (x, y), (seen, classes) = self.test, self.train
        encode = _encoder(model)
        latents = apply_in_batches(encode, x)
        refitted = Probe.fit(apply_in_batches(encode, seen), classes)
        error = reconstruction_error(model, x)
        right = math.nan
        if self.classifier is not None:
            right = float((apply_in_batches(lambda rows: self.classifier(model(rows)), x).argmax(1) == y).double().mean())  # type: ignore[misc]
        return AutoencoderQuality(
            error=error,
            mean_row=mean_row_error(x, seen),
            psnr=psnr(error),
            fixed_probe=self.probe.accuracy(latents, y),
            refitted_probe=refitted.accuracy(latents, y),
            on_reconstructions=right,
        )


def _encoder(model: nn.Module) -> RowFunction:
    found = getattr(model, "encode", None)
    if not callable(found):
        raise InvalidInput(
            f"{type(model).__name__} has no encode(x), which gives the latents a probe reads; add one, or use vesalius.models.Autoencoder"
        )
    encode: RowFunction = found
    return encode
