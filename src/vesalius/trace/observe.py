"""What a model does on an example, and whether that is what all else here rests on.

One number per sample is what is explained. So a sample must have the same output whether it comes alone or in a batch, and whenever it
comes. Both are looked at when a model is opened, and a model for which they do not hold is refused, or said to be random.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vesalius.core.errors import InvalidInput, ModelFails, VesaliusError
from vesalius.core.random_state import RandomState
from vesalius.trace.signature import ModelCall
from vesalius.trace.write_guard import WriteGuard, WritesToWeights, forget_failed_compilation

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 5e-2, torch.bfloat16: 1e-1}
"""Largest relative difference between two computations of the same thing that is put down to rounding."""

RANDOM = (
    "it is random: two calls with the same input differ (dropout that is always on, noise, sampling); values are means over repeated calls"
)
FIRST_CALL = "{name} makes its layers in its first call, and has none yet to be explained; call the model once, then trace it"
GRADIENT_MODE = (
    "with gradients on its output is another than with gradients off (the fast path of torch's transformer layers does that where positions"
    " are masked; torch.backends.mha.set_fastpath_enabled(False) makes both the same); it is explained as it is with gradients off"
)


@dataclass(frozen=True, eq=False)
class Behaviour:
    """What a model does on an example: its output, and the gradient of a mixture of its outputs for each floating input.

    A plain sum would not do: that of a softmax or a LayerNorm is constant.

    Attributes:
        output: [batch, ...].
        slopes: gradients, zero where none arrives.
        differentiable: whether one arrives.
        smooth: whether they could be taken at all: an op may have no derivative.
        mixes: whether the output of a sample depends on the other samples.
        reason: why the model can be no more than a black box, or empty.
    """

    output: Tensor
    slopes: tuple[Tensor, ...]
    differentiable: bool
    smooth: bool = True
    mixes: bool = False
    reason: str = ""


def observe(call: ModelCall, tensors: Sequence[Tensor]) -> tuple[ModelCall, Behaviour]:
    """Run a model on an example, on copies of it.

    Returns:
        The call, with what it takes to repeat it, and what it does.

    Raises:
        InvalidInput: the model fails on the example, or makes its layers in its first call.
    """
    if any(nn.parameter.is_lazy(tensor) for tensor in call.model.parameters()):
        raise InvalidInput(FIRST_CALL.format(name=type(call.model).__name__))
    numbers = RandomState()
    watched = replace(call.isolated(), random=True)  # its generators go on from call to call, as the model's own would
    guard = WriteGuard(call.model)
    try:
        found = _first_run(watched, tensors, guard)
        watched, call = replace(watched, writes=guard.stopped), replace(call, writes=guard.stopped)
        check_output(found.output, len(tensors[0]))
        with torch.no_grad():
            again = _evaluate_again(watched, tensors)
            if not is_close(again, found.output):
                if not is_close(watched.evaluate(tensors), again):
                    guard.drew = True
                    return watched, replace(found, reason=RANDOM)
                found = replace(found, output=again, differentiable=False, reason=GRADIENT_MODE)
            call, mixes = _look_at_rows(replace(call, draws=guard.drew), tensors)
        return call, replace(found, mixes=mixes)
    finally:
        if guard.drew:
            numbers.restore()


def run_with_gradients(run: Callable[[Sequence[Tensor]], Tensor], tensors: Sequence[Tensor]) -> Behaviour:
    """Run forward and backward on copies: a model may write to its inputs."""
    leaves = [tensor.clone().requires_grad_(tensor.is_floating_point()) for tensor in tensors]
    floating = [leaf for leaf in leaves if leaf.requires_grad]
    try:
        output = run([leaf.clone() for leaf in leaves])
    except (WritesToWeights, MemoryError):
        raise
    except Exception as error:  # a user's model may raise anything
        return _run_without_gradients(run, tensors, error)
    none: list[Tensor | None] = [None] * len(floating)
    slopes, smooth = none, True
    if output.requires_grad and floating:
        try:
            mixture = torch.cos(torch.arange(output.numel(), device=output.device, dtype=torch.float32)).reshape(output.shape)
            mixed = (output * mixture.to(output.dtype)).sum()
            slopes = list(torch.autograd.grad(mixed.real if mixed.is_complex() else mixed, floating, allow_unused=True))
        except Exception:  # an op without a derivative, or one whose result was written over
            smooth = False
    filled = tuple(torch.zeros_like(leaf) if slope is None else slope for leaf, slope in zip(floating, slopes, strict=True))
    return Behaviour(output.detach(), filled, any(slope is not None for slope in slopes), smooth)


def is_close(ours: Tensor, theirs: Tensor, *, floor: float = 1e-12) -> bool:
    """Whether two tensors differ by no more than rounding, relative to the larger of their size and a floor."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype or not torch.equal(ours.isnan(), theirs.isnan()):
        return False
    if not ours.numel() or torch.equal(ours, theirs):
        return True
    if ours.is_complex():
        return is_close(torch.view_as_real(ours), torch.view_as_real(theirs), floor=floor)
    scale = theirs.nan_to_num(0).abs().max().clamp_min(floor)
    return bool((ours - theirs).nan_to_num(0).abs().max() <= TOLERANCE.get(ours.dtype, 1e-4) * scale)


def check_output(result: Tensor, batch: int) -> None:
    """Refuse an output that does not hold a row for each sample.

    Raises:
        InvalidInput.
    """
    if result.ndim == 0 or len(result) != batch:
        raise InvalidInput(f"the output has shape {tuple(result.shape)} for a batch of {batch}; expected one row per sample")
    if not (result.is_floating_point() or result.is_complex()):
        raise InvalidInput(f"the output is {result.dtype}; expected real numbers such as logits")


# ---- one call -----------------------------------------------------------------------------------------------------------------------


def _first_run(call: ModelCall, tensors: Sequence[Tensor], guard: WriteGuard) -> Behaviour:
    """The first call, under a guard of what the model shares with its copy."""
    copied = call.isolated()
    known = {name for name, _ in copied.model.named_parameters()}

    def run(given: Sequence[Tensor]) -> Tensor:
        try:
            with guard:
                return copied.run(given)
        except (WritesToWeights, MemoryError):
            raise
        except Exception:  # the model's fault, or the guard's: torch compiles nothing under it, and some models ask for that
            forget_failed_compilation()
            return replace(call, writes=True).isolated().run([tensor.clone() for tensor in given])

    try:
        found = run_with_gradients(run, tensors)
    except WritesToWeights:
        return run_with_gradients(replace(call, writes=True).evaluate, tensors)
    if {name for name, _ in copied.model.named_parameters()} - known:
        raise InvalidInput(FIRST_CALL.format(name=type(call.model).__name__))
    return found


def _evaluate_again(call: ModelCall, tensors: Sequence[Tensor]) -> Tensor:
    """The output of a second call, with gradients off.

    Raises:
        ModelFails: it fails.
    """
    try:
        return call.evaluate(tensors)
    except (VesaliusError, MemoryError):
        raise
    except Exception as error:  # a user's model may raise anything
        words = next(iter(str(error).splitlines()), "")
        raise ModelFails(f"the model fails when it is called again, with gradients off: {type(error).__name__}: {words}") from error


def _run_without_gradients(run: Callable[[Sequence[Tensor]], Tensor], tensors: Sequence[Tensor], first: Exception) -> Behaviour:
    """For a model that runs only with gradients off.

    Raises:
        ModelFails: nor does it then.
    """
    try:
        with torch.no_grad():
            output = run([tensor.clone() for tensor in tensors])
    except WritesToWeights:
        raise
    except Exception:
        if isinstance(first, VesaliusError):
            raise first from None
        shapes = ", ".join(str(list(tensor.shape)) for tensor in tensors)
        words = next(iter(str(first).splitlines()), "")
        raise ModelFails(f"the model itself fails on inputs of shape {shapes}: {type(first).__name__}: {words}") from first
    flat = tuple(torch.zeros_like(tensor) for tensor in tensors if tensor.is_floating_point())
    return Behaviour(output, flat, differentiable=False, smooth=False)


# ---- rows ---------------------------------------------------------------------------------------------------------------------------


def _look_at_rows(call: ModelCall, tensors: Sequence[Tensor]) -> tuple[ModelCall, bool]:
    """How many samples the model takes, and whether the output of one depends on the others."""
    pair = two_rows(tensors)
    both = _output_of_two(call, pair)
    if both is None and len(tensors[0]) == 1:
        pair = [tensor.repeat_interleave(2, 0) for tensor in tensors]
        both = _output_of_two(call, pair)
        call = replace(call, one_by_one=True) if both is None else call
    if both is None:
        return call, False
    for row in range(2):
        try:
            alone = call.evaluate([tensor[row : row + 1] for tensor in pair])
        except Exception:  # a user's model may raise anything
            return call, _depends_on_third(call, pair, both)
        if not is_close(alone, both[row : row + 1]):
            return call, True
    return call, False


def _depends_on_third(call: ModelCall, pair: Sequence[Tensor], both: Tensor) -> bool:
    """Whether the output of two samples changes when another joins them; for a model that takes no sample alone."""
    try:
        three = call.evaluate([torch.cat([tensor, tensor[:1]]) for tensor in pair])
    except Exception:  # it takes a batch of this size only
        return False
    return not is_close(three[:2], both)


def two_rows(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The first two samples; where they are the same, or there is one, the first beside a variant of it."""
    pair = [tensor[:2] for tensor in tensors]
    if len(pair[0]) == 2 and any(not torch.equal(tensor[0], tensor[1]) for tensor in pair):
        return pair
    return [torch.cat([tensor[:1], _variant(tensor[:1])]) for tensor in tensors]


def _variant(row: Tensor) -> Tensor:
    """Another sample of the same kind: numbers moved by a tenth of their size, ids in another order."""
    if row.is_floating_point():
        wave = torch.cos(torch.arange(row.numel(), device=row.device, dtype=torch.float32)).reshape(row.shape)
        return row + 0.1 * row.abs().max().clamp_min(1.0) * wave.to(row.dtype)
    return row.roll(1, -1) if row.ndim > 1 and row.dtype != torch.bool else row


def _output_of_two(call: ModelCall, pair: Sequence[Tensor]) -> Tensor | None:
    """The output of two samples together, if the model takes two."""
    try:
        found = call.evaluate(pair)
    except Exception:  # a user's model may raise anything
        return None
    return found if found.ndim and len(found) == 2 else None
