"""A loss of the user's, given what it asks for: the output, the inputs, and the labels that came with them.

Axes: B batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from vesalius.core.entry import as_caller
from vesalius.core.errors import InvalidInput

Loss = Callable[..., Tensor]
"""From the output, the inputs and the labels of a batch to one number, as :func:`evaluate_loss` calls it."""
TARGET_NAMES = frozenset("target targets label labels y y_true".split())
"""Names of a second argument that is no input but what the output should be, as in PyTorch's own losses."""


def evaluate_loss(loss: Loss, output: Float[Tensor, "B *out"], inputs: tuple[Tensor, ...], labels: Any) -> Tensor:
    """The loss of a batch.

    A loss of output and inputs is called so. One that takes one argument more is given the labels behind the inputs; one of two arguments
    whose second is called ``target``, as PyTorch's are, is given output and labels. Such a target is the first input where there are no
    labels, or where the output has the shape of the input and the labels have not, as in an autoencoder on labelled data.

    Args:
        loss: of the user's.
        output: of the network.
        inputs: of the batch.
        labels: of the batch, in whatever form it has them; ``None`` for none.

    Raises:
        InvalidInput: a loss asks for labels, and the data has none.
    """
    arguments, any_number = _positional_arguments(loss)
    if len(arguments) == 2 and arguments[1] in TARGET_NAMES:
        likeness = output.shape == inputs[0].shape != getattr(labels, "shape", None)
        if labels is None and not likeness:
            raise InvalidInput(
                f"the loss compares the output, of shape {list(output.shape)}, with a {arguments[1]}, and this data has no labels;"
                " give rows as (x, y), or batches of (inputs, labels)"
            )
        return as_caller(loss, output, inputs[0] if labels is None or likeness else labels)
    if len(arguments) == len(inputs) + 2 and labels is None:
        raise InvalidInput(
            f"the loss takes {', '.join(arguments)}, and this data has no labels; give rows as (x, y), or batches of (inputs, labels)"
        )
    with_labels = len(arguments) == len(inputs) + 2 or (any_number and labels is not None)
    return as_caller(loss, output, *inputs, *([labels] if with_labels else []))


def _positional_arguments(loss: Loss) -> tuple[list[str], bool]:
    """Names of the positional arguments that a loss cannot do without, and whether it takes any number more."""
    try:
        found = inspect.signature(loss.forward if isinstance(loss, nn.Module) else loss).parameters.values()
    except (TypeError, ValueError):
        return [], False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [one.name for one in found if one.kind in positional and one.default is inspect.Parameter.empty]
    return needed, any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in found)
