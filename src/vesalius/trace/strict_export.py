"""Exporting a model by reading its code, for what is lost when the code is run: ``len(x)`` is a whole number to Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from vesalius.core.entry import caller_defaults
from vesalius.trace.signature import InputSlot, ModelCall, select_output


class ReadableWrapper(nn.Module):
    """The model with its call fixed, in code that torch can read: flat tensors in, one tensor out."""

    def __init__(self, call: ModelCall) -> None:
        super().__init__()
        self.model = call.model
        self.names = list(call.kwargs)
        self.given = [*call.args, *call.kwargs.values()]
        self.places = [item.place if isinstance(item, InputSlot) else -1 for item in self.given]
        self.output, self.function = call.output, call.function

    def forward(self, *tensors: Tensor) -> Tensor:
        """The output."""
        given = [item if place < 0 else tensors[place] for item, place in zip(self.given, self.places, strict=True)]
        count = len(given) - len(self.names)
        result = self.model(*given[:count], **dict(zip(self.names, given[count:], strict=True)))
        found = result if isinstance(result, Tensor) and self.output is None else select_output(result, self.output)
        return found if self.function is None else self.function(found)


def export_by_reading(call: ModelCall, example: Sequence[Tensor], dynamic_shapes: dict[str, Any]) -> ExportedProgram:
    """torch.export in its strict mode.

    Args:
        call: the model, which is not written to, and how it is called.
        example: one batch of inputs, flat.
        dynamic_shapes: as torch.export takes them, of ``tensors``.
    """
    with caller_defaults():
        program = torch.export.export(ReadableWrapper(call), tuple(example), dynamic_shapes=dynamic_shapes, strict=True)
    for node in program.graph.nodes:
        stack = node.meta.get("nn_module_stack") or {}
        node.meta["nn_module_stack"] = {key: named for key, named in stack.items() if not named[0].startswith("_empty_nn_module_stack")}
    return program
