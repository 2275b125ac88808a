"""The noun of pruning: a network with masks, and why each link stayed."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vesalius.core import store
from vesalius.core.display import load_view
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.sparsity.compact import Compact, compact
from vesalius.sparsity.compression.exporting import export
from vesalius.sparsity.coverage import Coverage, weight_coverage
from vesalius.sparsity.link_ranks import LinkRank, rank_link
from vesalius.sparsity.links import links_of
from vesalius.sparsity.parametrizations import copy_with_plain_weights
from vesalius.sparsity.pruning.masked_copy import update_weights
from vesalius.sparsity.sparsified_file import KIND, attach_model, decode_part, decode_tables, encode_sparsified
from vesalius.trace.copying import computed_attributes
from vesalius.trace.network import Inputs, Network


@dataclass(frozen=True, eq=False, kw_only=True)
class Sparsified:
    """A pruned network.

    Attributes:
        masked: a copy of the user's model under masks of ``torch.nn.utils.prune``, as :attr:`model` gives it; ``None`` when loaded without
            the network.
        pruned: what the copy computed when it was pruned, traced; see :attr:`network`.
        dense: the network before.
        masks: of each pruned layer, in the weight's shape; true where a link stayed. A weight that is used both ways round, as in a tied
            decoder, is listed once, under the layer that comes first.
        importance: scores of all links of each pruned layer, in the weight's shape; links with higher ones stayed. When refitting, the
            scores of the first round, in which all links of the layer were there and the layers before it were pruned.
        provenance: digest of the dense network, options, samples, seconds.
    """

    masked: nn.Module | None
    pruned: Network
    dense: Network
    masks: Mapping[str, Bool[Tensor, "..."]]
    importance: Mapping[str, Float[Tensor, "..."]]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def network(self) -> Network:
        """What :attr:`model` computes, traced, with the weights that it has now: those that it was trained to since, too."""
        if self.masked is not None:
            update_weights(self.pruned, self.masked)
        return self.pruned

    @property
    def model(self) -> nn.Module:
        """A copy of the user's model under masks of ``torch.nn.utils.prune``; ``prune.remove`` makes them permanent.

        It can be copied and pickled, in the middle of training too.

        Raises:
            InvalidInput: loaded without the network.
        """
        if self.masked is None:
            raise InvalidInput(
                "this result was loaded without its model, and .network computes what it would; for the model, load it with"
                " Sparsified.load(path, network=vesalius.trace(model, x))"
            )
        return self.masked

    @property
    def links(self) -> int:
        """Links of all pruned layers, before."""
        return sum(mask.numel() for mask in self.masks.values())

    @property
    def kept(self) -> int:
        """Links that stayed."""
        return sum(int(mask.sum()) for mask in self.masks.values())

    @property
    def sparsity(self) -> float:
        """Share of the links of the pruned layers that is gone, counted from the masks."""
        return 1 - self.kept / self.links

    @property
    def sparsities(self) -> dict[str, float]:
        """The same of each layer."""
        return {name: 1 - int(mask.sum()) / mask.numel() for name, mask in self.masks.items()}

    @property
    def coverage(self) -> Coverage:
        """Which share of the network's weights could be cut, and why the others were left alone."""
        if "coverage" in self.provenance:
            return Coverage.of_facts(self.provenance["coverage"])
        return weight_coverage(self.dense, {one.layer.weight for one in links_of(self.dense, list(self.masks)).values()})

    @verb
    def mask(self, layer: str) -> Bool[Tensor, "..."]:
        """The mask of a layer.

        Raises:
            UnknownName: it was not pruned.
        """
        require_known("pruned layer", layer, self.masks)
        return self.masks[layer]

    @verb
    def rank(self, layer: str, *index: int) -> LinkRank:
        """Why a link stayed or went: its importance, its place in the layer, and whether it was kept; printed, a sentence.

        Args:
            layer: name of a pruned layer.
            index: of the link, one number for each axis of the weight.

        Raises:
            UnknownName: the layer was not pruned.
            InvalidInput: no such link; scores below 0.
        """
        mask = self.mask(layer)
        return rank_link(layer, self.importance[layer], index, mask)

    def plot(self, *, title: str | None = None, ax: Any = None) -> Any:
        """Cumulative importance of links; returns the matplotlib figure. See :func:`vesalius.views.sparsity.charts.plot_sparsified`."""
        return load_view("sparsified_plot")(self, title=title, ax=ax)

    def _repr_html_(self) -> str:
        return str(load_view("sparsified_html")(self))

    @verb
    def compact(self, rows: Inputs | None = None, batches: Sequence[int] = (1, 256)) -> Compact:
        """The pruned network made small, in its fastest form here; see :func:`vesalius.sparsity.compact.compact`."""
        return compact(self.network, dense=self.dense, rows=rows, batches=batches)

    def export(self, path: str | Path) -> Path:
        """Write the pruned network, all of its units, to a file; see :func:`vesalius.sparsity.compression.exporting.export`."""
        return export(path, copy_with_plain_weights(self.model), self.network)

    # ---- keeping ------------------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write masks, scores and both networks to one file (safetensors with a JSON header), atomically; the model's code is not in it."""
        networks, tables = {"dense": self.dense, "pruned": self.network}, {"masks": self.masks, "importance": self.importance}
        return store.write(path, KIND, *encode_sparsified(networks, tables, self.provenance))

    @classmethod
    @verb
    def load(cls, path: str | Path, *, network: Network | None = None, device: torch.device | str = "cpu") -> Sparsified:
        """Read a file written by :meth:`save`; no code in it can run.

        Args:
            path: of the file.
            network: traced from a model of the architecture that was pruned, whatever its weights; without it there is no :attr:`model`,
                and what needs one (``compact``, ``export``) is refused.
            device: of all tensors.

        Raises:
            FileNotFoundError, ForeignFile: see :func:`vesalius.core.store.read`.
            InvalidInput: a network of another architecture, or without a model.
        """
        tensors, facts = store.read(path, KIND)
        with store.decoding(path):
            home = torch.device(device)
            dense = decode_part(tensors, facts, "dense", "dense", home)
            pruned = decode_part(tensors, facts, "pruned", "dense", home)
            masks, importance = (
                {name: tensor.to(home) for name, tensor in found.items()} for found in decode_tables(tensors, facts, dense)
            )
            made = store.provenance(
                facts, samples=int, seconds=float, rounds=int, coverage=lambda value: Coverage.of_facts(store.mapping(value))
            )
        masked = None
        if network is not None:
            masked, pruned, dense = attach_model(pruned, dense, masks, network)
        return cls(masked=masked, pruned=pruned, dense=dense, masks=masks, importance=importance, provenance=made)

    def __deepcopy__(self, memo: dict[int, Any]) -> Sparsified:
        memo.update({} if self.masked is None else computed_attributes(self.masked))
        return Sparsified(**{known.name: copy.deepcopy(getattr(self, known.name), memo) for known in fields(self)})

    def __repr__(self) -> str:
        wide = max(len(name) for name in self.masks)
        lines = [
            f"  {name:<{wide}}  {int(mask.sum()):>9,} of {mask.numel():>9,} links, {self.sparsities[name]:6.1%} pruned"
            for name, mask in self.masks.items()
        ]
        covered = self.coverage
        said = f"; {covered.sentence()}" if covered.left else ""
        first = f"Sparsified({self.dense.name}: {self.kept:,} of {self.links:,} links, {self.sparsity:.1%} pruned{said})"
        return "\n".join([first, *lines, *(f"  {line}" for line in covered.lines())])
