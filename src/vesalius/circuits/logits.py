"""Read out through the end of the network: the share of each part in a logit, and the logits that each value of the stream would give.

Axes: B prompts, W writers, M elements of a value of the stream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.players import Players
from vesalius.core.samples import PER_SAMPLE
from vesalius.games.game import question_provenance, sample_targets
from vesalius.games.interior_question import EdgeRun
from vesalius.trace.attention import op_of
from vesalius.trace.graph_axes import GraphAxes
from vesalius.trace.network import Inputs
from vesalius.trace.question import Question, ask
from vesalius.trace.receive import receive
from vesalius.trace.target import Target

LAYER_NORM_EPS = 1e-5
"""PyTorch's default."""
Scale = Callable[[Callable[[], Tensor]], Tensor]
"""What a norm multiplies with: as it was recorded, or computed now and recorded."""
SCALE = "the scale of the last norm is that of this run"


@verb
def direct_logit_attribution(model: Any, x: Inputs, *, target: Target = None) -> Allocation:
    """What each head, each MLP and the embedding writes into the target directly, through the last norm and the unembedding.

    The scale of the last norm is kept as it is in this run, which makes it linear: values add up to the target. What is there whatever
    anybody writes (biases) is the base.

    Args:
        model: a Network, or any model that :func:`vesalius.trace` takes.
        x: prompts.
        target: a logit or a difference of logits, see :func:`vesalius.attribute`; of one that is not linear in the stream (a probability)
            the gap says how much is missing.

    Raises:
        InvalidInput: the graph shows no residual stream that ends in the output.

    Reference: Elhage2021; Nostalgebraist2020.
    """
    network = receive(model, x).network
    final, places = _final_stream(network.axes)
    run = EdgeRun.of(network, x, target=target, baseline=None)
    base = run.base
    question = ask(base.network, base.inputs, target=base.given_target, at=final)
    rows = torch.arange(base.batch, device=run.embedding.device)
    with torch.no_grad():
        written = run.graph.writes(*run.inputs(rows), run.no_shift(rows))
    biases = [run.absent[place] for place in places]  # what a head's projection writes when nothing comes in, 0 of all others
    frozen = FrozenNorms.of(question)
    values = frozen.slopes([(written[place] - bias).expand(base.batch, -1) for place, bias in zip(places, biases, strict=True)])
    stream = run.graph.stream
    attentions = {stream.writers[place].attention: bias for place, bias in zip(places, biases, strict=True)}
    start = frozen.at(torch.stack(list(attentions.values())).sum(0))
    names = tuple(stream.writers[place].name for place in places)
    players = Players((torch.arange(len(names)),), (len(names),), "writers", names)
    facts = {"method": "direct_logit_attribution", "options": {"norm": SCALE}, **question_provenance(question, "biases alone")}
    count = torch.full((base.batch,), 3)
    made = Allocation(
        players=players,
        values=values,
        base=start,
        total=question.total,
        evaluations=count,
        provenance={**facts, PER_SAMPLE: {"target": sample_targets(question)}},
    )
    return made[0] if base.single else made


@verb
def logit_lens(model: Any, x: Inputs) -> Mapping[str, Float[Tensor, "B ..."]]:
    """The output that the network would have if it ended after each part: its last norm and unembedding at each value of the stream.

    Args:
        model: a Network, or any model that :func:`vesalius.trace` takes.
        x: prompts.

    Returns:
        The output by the part after which it is read: ``embed``, ``L0.attn``, ``L0.mlp``, ...; the last is the network's own.

    Raises:
        InvalidInput: the graph shows no residual stream that ends in the output.

    Reference: Nostalgebraist2020.
    """
    received = receive(model, x)
    network = received.network
    final, _ = _final_stream(network.axes)
    parts = network.axes.interior.residual()
    inputs = network.bind(received.x)
    split = network.split(final)
    with torch.no_grad():
        last, *context = split.front(*inputs)
        held = network.read(inputs, list(parts.sites))
        layouts = {site: network.axes.batch_layout(site) for site in (*parts.sites, final)}
        shape = layouts[final].batch_first(last).shape
        found = {}
        for name, site in zip(parts.names, parts.sites, strict=True):
            value = layouts[site].batch_first(held[site])
            if value.numel() == shape.numel():
                found[name] = split.head(layouts[final].restore(value.reshape(shape)), *context)
        return found


def _final_stream(axes: GraphAxes) -> tuple[str, tuple[int, ...]]:
    """The value of the stream that the output reads, and its writers."""
    axes.interior.edges()
    stream = axes.interior.stream
    last = [reader for reader in stream.readers if reader.name == "logits"]
    if len(last) != 1 or len(last[0].streams) != 1:
        raise InvalidInput("the output does not read one residual stream, so no part writes into it directly; use Players.edges(net)")
    return last[0].streams[0], stream.sums[last[0].streams[0]]


@dataclass(eq=False)
class FrozenNorms:
    """The end of a network with the scales of its norms as they are in one run, which makes it linear where the rest is.

    Attributes:
        question: about the last value of the stream.
        scales: of each norm, as they were.
    """

    question: Question
    scales: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, question: Question) -> FrozenNorms:
        """With the scales of the question's samples."""
        found = cls(question)
        found._run(question.present[0], record=True)
        return found

    def slopes(self, values: list[Tensor]) -> Float[Tensor, "B W"]:
        """What each of some terms of the stream is worth."""
        here = self.question.present[0].detach().requires_grad_()
        with torch.enable_grad():
            slope = torch.autograd.grad(self._run(here, record=False).sum(), here)[0].flatten(1)
        return torch.stack([(slope * value).sum(1) for value in values], 1)

    def at(self, value: Float[Tensor, "B M"]) -> Float[Tensor, " B"]:
        """The target for another value of the stream."""
        with torch.no_grad():
            return self._run(value.reshape(self.question.present[0].shape), record=False)

    def _run(self, value: Tensor, *, record: bool) -> Tensor:
        cut = self.question.subgraph
        assert cut is not None
        rows = torch.arange(self.question.batch, device=value.device)
        interpreter = _NormInterpreter(cut.program, self.scales, record)
        output = interpreter.run(*cut.arguments([value], rows))[0]
        return self.question.pick(output, rows)


class _NormInterpreter(Interpreter):
    """Runs a graph in which norms divide by what they divided by when it was recorded."""

    def __init__(self, program: GraphModule, scales: dict[str, Any], record: bool) -> None:
        super().__init__(program)
        self.scales, self.record = scales, record

    def run_node(self, n: Node) -> Any:
        op = op_of(n)
        if op in NORMS:
            args, named = self.fetch_args_kwargs_from_env(n)
            norm, names = NORMS[op]
            return norm(partial(self._scale, n.name), args[0], args[1], {**dict(zip(names, args[2:], strict=False)), **named})
        found = super().run_node(n)
        if op in ("rsqrt", "sqrt", "var", "std", "linalg_vector_norm", "reciprocal") and "value" in n.meta:
            return self._scale(n.name, lambda: found)
        return found

    def _scale(self, name: str, compute: Callable[[], Tensor]) -> Tensor:
        if self.record:
            self.scales[name] = compute().detach()
        scale: Tensor = self.scales[name]
        return scale


def _layer_norm(scale: Scale, value: Tensor, shape: Sequence[int], given: Mapping[str, Any]) -> Tensor:
    """A layer norm whose deviation is given."""
    axes = tuple(range(-len(shape), 0))
    centred = value - value.mean(axes, keepdim=True)
    made = centred * scale(lambda: (centred.square().mean(axes, keepdim=True) + given.get("eps", LAYER_NORM_EPS)).rsqrt())
    made = made if given.get("weight") is None else made * given["weight"]
    return made if given.get("bias") is None else made + given["bias"]


def _rms_norm(scale: Scale, value: Tensor, shape: Sequence[int], given: Mapping[str, Any]) -> Tensor:
    """A root-mean-square norm whose root is given."""
    axes = tuple(range(-len(shape), 0))
    small = given.get("eps") or torch.finfo(value.dtype).eps
    made = value * scale(lambda: (value.square().mean(axes, keepdim=True) + small).rsqrt())
    return made if given.get("weight") is None else made * given["weight"]


NORMS: Mapping[str, tuple[Callable[..., Tensor], tuple[str, ...]]] = {
    "layer_norm": (_layer_norm, ("weight", "bias", "eps")),
    "rms_norm": (_rms_norm, ("weight", "eps")),
}
"""Norms that are one op, with their scales given; and the names of their arguments after the shape."""
