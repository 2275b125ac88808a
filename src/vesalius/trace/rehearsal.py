"""A graph of a file is run once on tensors without numbers, before it is believed: shapes alone say what it would take.

A file of a few hundred bytes may ask for a tensor of a terabyte, or for a whole number of a billion digits. On PyTorch's meta device every
op says how large its result would be, and nothing is computed. On the way it is seen whether every value is what the file says of it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Graph, Node
from torch.fx.node import map_arg

from vesalius.trace.graph import Value
from vesalius.trace.safe_ops import CREATED

BATCHES = (2, 40320)
"""Batch sizes that are tried: a small one, then one that many numbers divide."""
MOST_ELEMENTS = 1 << 28
"""Elements that a value may have, however small the file; and so many times those of the largest tensor of file and inputs:"""
MOST_GROWTH = 64
MOST_ALIVE = 16
"""Values of that size that may be alive at once."""
MOST_PARTS = 1 << 16
"""Tensors that a value may be taken apart into."""
MOST_BITS = 4096
"""Of a whole number."""

META = torch.device("meta")
RANGES = frozenset("arange linspace logspace".split())
"""Ops whose numbers are sizes too."""
SELECTING = frozenset(
    "nonzero nonzero_numpy argwhere masked_select index unique_consecutive unique_dim _unique _unique2 item _local_scalar_dense is_nonzero"
    " allclose equal".split()
)
"""Ops whose result depends on numbers, and is no larger than what they are given."""


class TooLarge(ValueError):
    """A graph would take more memory or time than any network does."""


@dataclass(frozen=True)
class DataDependent:
    """A result that depends on numbers.

    Attributes:
        bits: of it, if it is a number.
        example: a number that it might be.
    """

    bits: int = 64
    example: float = 1


def rehearse(graph: Graph, tensors: Mapping[str, Tensor]) -> None:
    """Run a graph on shapes alone.

    Args:
        graph: of ops that a file may hold, with the facts about each value.
        tensors: parameters and constants by name.

    Raises:
        ValueError: it cannot be run, it would take too much, or a value is not what the file says of it.
    """
    held = {name: tensor.to("meta") for name, tensor in tensors.items()}
    for batch in BATCHES:
        try:
            with torch.no_grad():
                _Rehearsal(graph, held, batch).run()
            return
        except TooLarge:
            raise
        except Exception as error:  # ops raise anything
            reason = error
    raise ValueError(f"its graph cannot be run: {type(reason).__name__}: {str(reason).strip()[:300]}") from reason


class _Rehearsal:
    """One run."""

    def __init__(self, graph: Graph, tensors: Mapping[str, Tensor], batch: int) -> None:
        self.graph, self.tensors, self.batch = graph, tensors, batch
        self.results: dict[Node, Any] = {}
        shapes = [node.meta["value"].shape for node in graph.nodes if node.op == "placeholder"]
        sizes = [_product([batch if side is None else side for side in shape]) for shape in shapes]
        largest = max([*(tensor.numel() for tensor in tensors.values()), 1])
        if max(sizes, default=1) > batch * max(MOST_ELEMENTS, MOST_GROWTH * largest):
            raise TooLarge(f"an input of it has {max(sizes):,} elements")
        self.most = max(batch * MOST_ELEMENTS // BATCHES[0], MOST_GROWTH * max(largest, *sizes, 1))

    def run(self) -> None:
        alive, silent = 0, []
        last = {source: node for node in self.graph.nodes for source in node.all_input_nodes}
        for node in self.graph.nodes:
            if node.op == "output":
                continue
            result = self.results[node] = self._result(node)
            alive += self._check_size(node, result)
            _check_facts(node, result, self.batch)
            for source in node.all_input_nodes:
                if last[source] is node:
                    alive -= self._check_size(source, self.results.pop(source))
            if alive > MOST_ALIVE * self.most:
                raise TooLarge(f"its values would take {alive:,} elements at once")
            if isinstance(result, Tensor) and node.op == "call_function" and "value" not in node.meta:
                silent.append(node.name)
        if silent:
            raise ValueError(f"{silent[0]} is a tensor of which nothing is said")

    def _result(self, node: Node) -> Any:
        if node.op == "placeholder":
            value: Value = node.meta["value"]
            shape = [self.batch if side is None else side for side in value.shape]
            return torch.empty(shape, dtype=getattr(torch, value.dtype), device="meta")
        if node.op == "get_attr":
            return self.tensors[str(node.target)]
        args: Any = map_arg(node.args, self.results.__getitem__)
        kwargs: Any = map_arg(node.kwargs, self.results.__getitem__)
        if not isinstance(node.target, OpOverload):
            return compute_size(node.target, args)
        given = _by_name(node.target, args, kwargs)
        if any(isinstance(item, DataDependent) for item in _flat(given)):
            return self._depending(node.target, given)
        _check_parts(node.target, given)
        try:
            return _on_meta(node.target, given)
        except RuntimeError:
            if node.target._opname not in SELECTING:
                raise
            whole = [item for item in _flat(given) if isinstance(item, Tensor) and item.is_floating_point()]
            return DataDependent(example=1.0 if whole else 1)

    def _depending(self, op: OpOverload, given: Mapping[str, Any]) -> DataDependent:
        """The result of what depends on numbers, if it can be no bomb: what makes tensors of sizes must know them."""
        kinds = (int, float) if "upsample" in op._opname else int
        numbers = [abs(item) for item in _flat(given) if isinstance(item, kinds) and 0 < abs(item) < 1 << 62]
        if op._opname in CREATED or "repeat_interleave" in op._opname or _product(numbers) > self.most:
            raise TooLarge(f"{op} would make a tensor of a size that depends on numbers")
        return DataDependent()

    def _check_size(self, node: Node, result: Any) -> int:
        """Elements of a result."""
        sizes = [part.numel() for part in _flat(result) if isinstance(part, Tensor)]
        if max(sizes, default=0) > self.most:
            raise TooLarge(f"{node.target} would make a tensor of {max(sizes):,} elements")
        return sum(sizes)


def _check_facts(node: Node, result: Any, batch: int) -> None:
    """Whether a value is what a file says of it."""
    if node.meta.get("batch_size") and (type(result) is not int or result != batch):
        raise ValueError(f"{node.name} is said to be the batch size, and is not")
    value: Value | None = node.meta.get("value")
    if isinstance(result, DataDependent):
        return
    if value is None:
        return
    if value.is_tensor != isinstance(result, Tensor):
        raise ValueError(f"{value.name!r} is no {'tensor' if value.is_tensor else 'tuple'}")
    if not value.is_tensor:
        return
    sizes = tuple(result.shape)
    right = len(sizes) == len(value.shape) and all(said is None or said == size for said, size in zip(value.shape, sizes, strict=True))
    alike = value.dtype == str(result.dtype).removeprefix("torch.") or (value.is_floating and result.dtype.is_floating_point)
    if not right or not alike:  # how exact a quotient of whole numbers is depends on the default of the process
        raise ValueError(f"{value.name!r} is said to be {value.dtype} {list(value.shape)}, and is {result.dtype} {list(sizes)}")
    if value.batch_axis is not None and sizes[value.batch_axis] != batch:
        raise ValueError(f"axis {value.batch_axis} of {value.name!r} is not the batch")


def compute_size(function: Any, args: tuple[Any, ...]) -> Any:
    """A function of sizes.

    Raises:
        TooLarge, ValueError: it has thousands of digits; it is no function of numbers.
    """
    if function is operator.getitem:
        box, place = args
        if isinstance(box, DataDependent):
            return box
        if not isinstance(box, (tuple, list)) or type(place) is not int:
            raise ValueError("a part is taken of what has no parts")
        return box[place]
    bits = [_bits(item) for item in args]
    grown = sum(bits)
    if function is operator.pow:
        grown = bits[0] * (MOST_BITS if isinstance(args[1], DataDependent) else math.ceil(abs(args[1])))
    if grown > MOST_BITS:
        raise TooLarge("a size in it has thousands of digits")
    if not any(isinstance(item, DataDependent) for item in args):
        return function(*args)
    try:
        return DataDependent(grown, function(*(item.example if isinstance(item, DataDependent) else item for item in args)))
    except ArithmeticError:
        return DataDependent(grown)


def _bits(number: Any) -> int:
    if isinstance(number, DataDependent):
        return number.bits
    if not isinstance(number, (int, float)):
        raise ValueError("a function of sizes is given something else")
    return number.bit_length() if isinstance(number, int) else 64


def _by_name(op: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by name; a number that depends on data and that no shape depends on is some number."""
    given = dict(zip([one.name for one in op._schema.arguments], args, strict=False)) | dict(kwargs)
    if op._opname not in RANGES:
        kinds = {one.name: str(one.type).removeprefix("Optional[").removesuffix("]") for one in op._schema.arguments}
        for name, item in given.items():
            if isinstance(item, DataDependent) and kinds[name] in ("number", "float", "bool"):
                given[name] = item.example
    return given


def _on_meta(op: OpOverload, given: Mapping[str, Any]) -> Any:
    """An op's result, on the meta device whatever the device asked for."""
    known = {one.name for one in op._schema.arguments}
    moved = {name: META if isinstance(item, torch.device) else item for name, item in given.items()}
    if op._opname in CREATED and "device" in known and not any(isinstance(item, Tensor) for item in given.values()):
        moved["device"] = META
    if op is torch.ops.aten.view.default:  # as it will be run, see take_any_strides: strides on the meta device need not be those elsewhere
        return moved["self"].reshape(moved["size"])
    return op(**moved)


def _check_parts(op: OpOverload, given: Mapping[str, Any]) -> None:
    """Whether a tensor is taken apart into no more than so many, which is seen before it is done."""
    whole = next((item for item in given.values() if isinstance(item, Tensor)), None)
    if whole is None or "List" not in str(op._schema.returns[0].type):
        return
    longest = max(whole.shape, default=1)
    step, count = given.get("split_size", 1), next((given[name] for name in ("chunks", "sections") if name in given), None)
    parts = -(-longest // max(step, 1)) if isinstance(step, int) else len(step)
    parts = count if isinstance(count, int) else parts
    if any(isinstance(item, (tuple, list)) and item and isinstance(item[0], (int, Tensor)) for item in given.values()):
        parts = 1  # a list in the file, of one part each
    if parts > MOST_PARTS:
        raise TooLarge(f"{op} would make {parts:,} tensors")


def _flat(given: Any) -> list[Any]:
    if isinstance(given, Mapping):
        given = tuple(given.values())
    return [item for box in given for item in _flat(box)] if isinstance(given, (tuple, list)) else [given]


def _product(sizes: Iterable[float]) -> float:
    found = 1.0
    for size in sizes:
        found *= size
    return found
