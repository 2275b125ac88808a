"""From a model to its graph: torch.export, cleaned and named; the model is left as it was."""

from __future__ import annotations

import contextlib
import inspect
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import jaxtyping
import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import Graph, Node

from vesalius.core.entry import out_of_inference
from vesalius.trace.any_length import AnyLength
from vesalius.trace.fake_leftovers import without_fake_leftovers
from vesalius.trace.functionalize import functionalize, is_assertion
from vesalius.trace.graph import ModelGraph, Value, downstream_nodes
from vesalius.trace.inline import inline_regions
from vesalius.trace.number_reads import KnownReads, NumberRead, packs_sequences
from vesalius.trace.opset import op_family, readable_op_name, resolve_family
from vesalius.trace.packed_sequences import without_size_checks
from vesalius.trace.quiet import silence_torch
from vesalius.trace.readable_calls import ReadableCalls
from vesalius.trace.recurrent_export import recurrent_layers_by_shape
from vesalius.trace.signature import ModelCall, two_samples
from vesalius.trace.sizes import UnsayableSize, evaluate_size
from vesalius.trace.strict_export import export_by_reading
from vesalius.trace.symbolic_sizes import SymbolicSizes

EXPERTS = "_experts_implementation_internal"
"""Where a configuration of transformers says how experts are computed."""
_EXPORTING = threading.RLock()
"""torch.export keeps its state for the whole process: one export at a time."""


@dataclass(frozen=True)
class NoGraph(Exception):
    """Why a model has no graph: a sentence, and the user's line where it happened; ``fixed_batch`` if it has one for one size of batch."""

    reason: str
    fixed_batch: bool = False


@dataclass(frozen=True)
class ExportMode:
    """How a model is exported.

    Attributes:
        users_hooks: whether forward hooks are part of the model that are not torch's.
        axes: of each input, those whose sizes may change, as far as the model lets them; besides the batch. None by default.
        detached: whether what the model computes without gradients is cut from them in the graph, too, where it is used with them.
        reads: numbers that the model reads from its own tensors on the way, in order.
    """

    users_hooks: bool = True
    axes: Sequence[Sequence[int]] | None = None
    detached: bool = False
    reads: tuple[NumberRead, ...] = ()


class _ExportWrapper(nn.Module):
    """The model with its call fixed: flat tensors in, one tensor out."""

    def __init__(self, call: ModelCall) -> None:
        super().__init__()
        self.model = call.model
        self._call = (call,)  # in a tuple, so that the model is registered once

    def forward(self, *tensors: Tensor) -> Tensor:
        return self._call[0].run(tensors)

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """Parameters of compiled modules are plain tensors to Python, which torch.export does not take for parameters."""
        for name, found in super().named_parameters(*args, **kwargs):
            yield name, found if isinstance(found, nn.Parameter) else nn.Parameter(found, found.requires_grad)


def export_graph(call: ModelCall, example: Sequence[Tensor], mode: ExportMode = ExportMode()) -> ModelGraph:
    """Export a call and clean its graph.

    Args:
        call: the model and how it is called.
        example: one batch of inputs, flat.
        mode: in which way.

    Raises:
        NoGraph: the model does not export, or only for one batch size.
    """
    try:
        return _export_and_clean(call, example, mode)
    except NoGraph as error:
        if error.fixed_batch and mode.axes is None:
            with contextlib.suppress(NoGraph):
                return _export_and_clean(call, example, mode, strict=True)
        raise


def _export_and_clean(call: ModelCall, example: Sequence[Tensor], mode: ExportMode, *, strict: bool = False) -> ModelGraph:
    program = export_program(call, example, mode, strict=strict)
    try:
        return clean_graph(program, call.names, call.model, detached=mode.detached)
    except NoGraph:
        raise
    except Exception as error:  # whatever torch.export may write that is not foreseen here
        raise NoGraph(_describe_error(error)) from error


def export_program(call: ModelCall, example: Sequence[Tensor], mode: ExportMode = ExportMode(), *, strict: bool = False) -> ExportedProgram:
    """torch.export of a copy of the model, in eval mode, with a dynamic batch; ``strict`` reads the model's code rather than run it."""
    doubled = two_samples(example)
    if mode.axes is not None:  # strides of a part of a larger tensor would be symbols of their own
        doubled = tuple(tensor.contiguous() for tensor in doubled)
    moving = mode.axes or [()] * len(doubled)
    dynamic = tuple({axis: torch.export.Dim.AUTO for axis in (0, *of_input)} for of_input in moving)
    try:
        # without gradients, a torch.no_grad() around constants inside leaves no nested graph; one around data is found by trace's own check
        gradients = torch.set_grad_enabled(mode.detached)
        with _EXPORTING, silence_torch(), _as_it_can_be_read(), without_fake_leftovers(call.model), gradients:
            copied = call.isolated(users_hooks=mode.users_hooks)
            _multiply_experts_in_batches(copied.model, call.model)
            if strict:
                return export_by_reading(copied, doubled, {"tensors": dynamic})
            with ReadableCalls(), KnownReads(mode.reads), without_size_checks(packs_sequences(mode.reads)):
                return torch.export.export(_ExportWrapper(copied), doubled, dynamic_shapes={"tensors": dynamic}, strict=False)
    except Exception as error:
        raise NoGraph(_describe_error(error)) from error


def _multiply_experts_in_batches(copied: nn.Module, model: nn.Module) -> None:
    """Let the experts of transformers' mixtures fetch their weights by the router's choice, an ordinary index, rather than sort all tokens
    of a batch by their experts; the sums are the same.
    """
    users = {id(getattr(module, "config", None)) for module in model.modules()}
    for module in copied.modules():
        config = getattr(module, "config", None)
        if getattr(config, EXPERTS, None) is not None and id(config) not in users:
            setattr(config, EXPERTS, "batched_mm")


@contextlib.contextmanager
def _as_it_can_be_read() -> Iterator[None]:
    """Keep torch's transformer layers from collapsing into one fused op, which has no derivative, and its distributions from branching on
    the values they are asked about, where the model does not ask for that itself.
    """
    fast, validating = torch.backends.mha.get_fastpath_enabled(), Distribution._validate_args
    torch.backends.mha.set_fastpath_enabled(False)
    Distribution.set_default_validate_args(False)
    try:
        with recurrent_layers_by_shape():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        Distribution.set_default_validate_args(validating)


def _describe_error(error: Exception) -> str:
    """The first line of an export error, and the user's own line that caused it."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    frame = _user_frame(error)
    if frame is None:
        return f"{type(error).__name__}: {first}"
    return f"{frame.filename}:{frame.lineno}, in {frame.name}: {(frame.line or '').strip()!r} ({type(error).__name__}: {first})"


def _user_frame(error: BaseException) -> traceback.FrameSummary | None:
    """The innermost line of the traceback that is neither torch's nor ours, nor of what checks shapes between the two."""
    own = (*(str(Path(module.__file__ or "").parent) for module in (torch, jaxtyping)), str(Path(__file__).parent), "<")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(own)]
    inner = [frame for frame in frames if Path(frame.filename).parent != Path(inspect.__file__).parent]
    return inner[-1] if inner else None


def clean_graph(program: ExportedProgram, names: Sequence[str], model: nn.Module | None, *, detached: bool = False) -> ModelGraph:
    """Parameters as attributes, in-place ops as pure ones, checks dropped, values named.

    Args:
        program: an exported program with tensor inputs and at least one tensor output (the first is taken).
        names: names of the user's inputs, in order.
        model: where live parameters are taken from; the program's own copies otherwise.
        detached: whether it was exported with gradients, and parts without them are to have none.
    """
    with _EXPORTING, silence_torch(), recurrent_layers_by_shape():
        program = functionalize(inline_regions(program, detached=detached))
    try:
        return _GraphCleaner(program, list(names), model).run()
    except UnsayableSize as error:
        raise NoGraph(f"{error}, which depends on more than the batch size") from error


class _GraphCleaner:
    """One pass over an exported graph."""

    def __init__(self, program: ExportedProgram, names: list[str], model: nn.Module | None) -> None:
        self.program, self.inputs, self.model = program, names, model
        self.graph = Graph()
        self.copies: dict[Node, Node] = {}
        self.tensors: dict[str, Tensor] = {}
        self.nodes: dict[str, Node] = {}
        self.modules = {_module_path(node) for node in program.graph.nodes}
        self.kinds = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
        places = (node for node in program.graph.nodes if node.op == "placeholder")
        self.symbols = SymbolicSizes(node.meta["val"] for node in places if self.kinds[node.name].kind == InputKind.USER_INPUT)

    def run(self) -> ModelGraph:
        users = iter(self.inputs)
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self._placeholder(node, self.kinds[node.name], users)
            elif node.op == "call_function":
                self._call(node)
            elif node.op == "get_attr":
                raise NoGraph(f"the graph holds a nested graph ({node.target}), which is not supported: {_source_line(node)}")
        output = self._output_node()
        self.graph.output(output)
        self.graph.eliminate_dead_code()
        found = self._at_length_of_example(output.meta["value"].name)
        _resolve_families(found.graph)
        if found.any_length is not None:
            found.any_length.name_families(found)
        return found

    def _at_length_of_example(self, output: str) -> ModelGraph:
        """The graph, at the lengths of the example where others are possible."""
        tensors = self._used_tensors()
        if self.symbols.lengths:
            sizes = {name: self.nodes[name].meta["sizes"] for name in self.inputs}
            whole = AnyLength(self.graph, sizes, self.symbols.conditions(self.program))
            return whole.at(self.symbols.lengths, tensors, output)
        for node in self.graph.nodes:
            node.meta.pop("sizes", None)
        alive = set(self.graph.nodes)
        kept = {name: node for name, node in self.nodes.items() if node in alive and node.meta["value"].is_tensor}
        return ModelGraph(self.graph, tensors, kept, tuple(self.inputs), output)

    def _placeholder(self, node: Node, spec: Any, users: Iterator[str]) -> None:
        if spec.kind == InputKind.USER_INPUT:
            copy = self.graph.placeholder(node.name)
            self._register(copy, node, next(users), "input")
        else:
            target = spec.target.removeprefix("model.")
            self.tensors[target] = self._live_tensor(target, spec)
            copy = self.graph.get_attr(target)
        self.copies[node] = copy

    def _live_tensor(self, target: str, spec: Any) -> Tensor:
        """The model's own tensor, sharing memory, without gradient."""
        stored = self.program.state_dict.get(spec.target)
        tensor: Tensor = stored if stored is not None else self.program.constants[spec.target]
        if self.model is not None and spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            owner, _, leaf = target.rpartition(".")
            tensor = getattr(reduce(getattr, filter(None, owner.split(".")), self.model), leaf)
        if not isinstance(tensor, Tensor):
            what = "it draws from a random generator of its own" if isinstance(tensor, torch.Generator) else f"it uses {target!r}"
            raise NoGraph(f"{what}, which is no tensor but a {type(tensor).__name__}")
        return out_of_inference(tensor.detach())

    def _call(self, node: Node) -> None:
        if is_assertion(node):
            return
        if "higher_order" in str(getattr(node.target, "__module__", "")) or not callable(node.target):
            raise NoGraph(f"op {node.target} is not supported: {_source_line(node)}")
        copy = self.graph.node_copy(node, lambda old: self.copies[old])
        self.copies[node] = copy
        copy.meta = {}
        value = node.meta.get("val")
        _name_type(copy, value)
        if isinstance(value, torch.SymInt):
            copy.meta["batch_size"] = value.node.expr in self.symbols.batch
        elif isinstance(value, (Tensor, tuple, list)):
            self._register(copy, node, self._name(node), readable_op_name(node.target))

    def _register(self, copy: Node, node: Node, name: str, op: str) -> None:
        value = node.meta.get("val")
        tensor = value if isinstance(value, Tensor) else None
        sides: list[Any] = [] if tensor is None else list(tensor.shape)
        sizes = tuple(self.symbols.size(side) for side in sides)
        axes = [axis for axis, size in enumerate(sizes) if size is None]
        exact = len(axes) == 1 and sides[axes[0]].node.expr in self.symbols.batch
        copy.meta["sizes"] = sizes
        copy.meta["value"] = Value(
            name=name,
            op=op,
            family="input" if op == "input" else op_family(node.target),  # type: ignore[arg-type]
            shape=tuple(None if size is None else evaluate_size(size, self.symbols.lengths) for size in sizes),
            dtype="tuple" if tensor is None else str(tensor.dtype).removeprefix("torch."),
            batch_axis=axes[0] if exact else None,
            module=_module_path(node),
            line=_source_line(node),
        )
        self.nodes[name] = copy

    def _name(self, node: Node) -> str:
        """Module path plus op, numbered where that is not unique; parts of a tuple by their place."""
        source = node.args[0] if node.args else None
        if readable_op_name(node.target) == "getitem" and isinstance(source, Node) and source in self.copies:  # type: ignore[arg-type]
            stem = f"{self.copies[source].meta['value'].name}.{node.args[1]}"
        else:
            stem = "/".join(filter(None, [_module_path(node), readable_op_name(node.target)]))  # type: ignore[arg-type]
        name, count = stem, 0
        while name in self.nodes or name in self.inputs or name in self.modules:
            count += 1
            name = f"{stem}_{count}"
        return name

    def _output_node(self) -> Node:
        kinds = [spec.kind for spec in self.program.graph_signature.output_specs]
        (end,) = self.program.graph.find_nodes(op="output")
        found = end.args[0][kinds.index(OutputKind.USER_OUTPUT)]
        if found not in self.copies or "value" not in self.copies[found].meta:
            raise NoGraph("the output does not depend on the inputs")
        if not self.symbols.batch or self.copies[found].meta["value"].batch_axis != 0:
            raise NoGraph(self._explain_fixed_batch(), fixed_batch=True)
        return self.copies[found]

    def _explain_fixed_batch(self) -> str:
        """Where the batch size became a constant."""
        nodes = [node for node in self.copies.values() if "value" in node.meta and node.op == "call_function"]
        lost = next((n for n in nodes if n.meta["value"].batch_axis is None and n.meta["value"].family not in ("zero", "unknown")), None)
        where = f", first at {lost.meta['value'].line}" if lost is not None else ""
        return f"the output's first axis does not follow the batch size{where}; take it from x.shape[0], and leave loops over samples out"

    def _used_tensors(self) -> dict[str, Tensor]:
        used = {node.target for node in self.graph.nodes if node.op == "get_attr"}
        return {name: tensor for name, tensor in self.tensors.items() if name in used}


def _name_type(node: Node, value: Any) -> None:
    """Say of a tensor that is made of nothing which type it has, where that was left to the default of the process."""
    if isinstance(node.target, torch._ops.OpOverload) and isinstance(value, Tensor) and not value.is_complex():
        kinds = {one.name: str(one.type) for one in node.target._schema.arguments}
        made = "dtype" in kinds and not any("Tensor" in kind for kind in kinds.values())
        if made and len(node.args) <= list(kinds).index("dtype") and node.kwargs.get("dtype") is None:
            node.kwargs = {**node.kwargs, "dtype": value.dtype}


def _resolve_families(graph: Graph) -> None:
    """Families in the light of which arguments depend on the inputs."""
    varying = downstream_nodes(node for node in graph.nodes if node.op == "placeholder")
    for node in graph.nodes:
        value: Value | None = node.meta.get("value")
        if value is not None and node.op == "call_function":
            tensors = [source in varying for source in _argument_nodes(node) if "batch_size" not in source.meta]
            node.meta["value"] = replace(value, family=resolve_family(value.family, value.op, tensors))


def _argument_nodes(node: Node) -> list[Node]:
    """Node arguments with repetition (``x * x`` has two), those in lists included."""
    flat = [item for arg in node.args for item in (arg if isinstance(arg, (tuple, list)) else [arg])]
    return [item for item in flat if isinstance(item, Node)]


def _module_path(node: Node) -> str:
    stack: Mapping[str, Any] = node.meta.get("nn_module_stack") or {}
    path = str(list(stack.values())[-1][0]) if stack else ""
    return path.removeprefix("model").removeprefix(".") if path == "model" or path.startswith("model.") else path


def _source_line(node: Node) -> str:
    """Source line of a node: the innermost one outside torch, as ``file.py:12``."""
    torch_home = str(Path(torch.__file__).parent)
    places = [line.strip() for line in (node.meta.get("stack_trace") or "").splitlines() if line.strip().startswith("File ")]
    outside = [place for place in places if str(Path(__file__).parent) not in place]
    own = [place for place in outside if torch_home not in place] or outside
    if not own:
        return ""
    parts = own[-1].split(", ")
    return f"{Path(parts[0].removeprefix('File ').strip(chr(34))).name}:{parts[1].removeprefix('line ')}"
