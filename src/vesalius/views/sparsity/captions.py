"""What a pruned network says, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vesalius.sparsity.coverage import Coverage
from vesalius.sparsity.sparsified import Sparsified
from vesalius.views import style
from vesalius.views.sparsity.chart_data import PrunedLayer

HEADING = "Connection pruning"
SCORE_NAMES = {
    "shapley": "Shapley value of the link for its unit's output",
    "shapley_zero": "Shapley value of the link for its unit's output, absent links carrying 0",
    "gate": "mean change of the unit's output when the link carries another sample's value, to first order",
    "magnitude": "magnitude of the weight",
    "wanda": "magnitude of the weight times the norm of its input (Wanda)",
    "linear": "mean change of the unit's pre-activation when the link carries its mean",
    "taylor": "first-order change of the loss (Taylor)",
    "random": "random",
}


def summary(shown: Sparsified, errors: Mapping[str, float]) -> str:
    """The finding, in a few sentences."""
    kept = f"{shown.kept:,} of {shown.links:,} connections (links) are left ({style.percent(1 - shown.sparsity)})."
    if "error, dense" in errors:
        dense, pruned, mean = (errors[name] for name in ("error, dense", "error, pruned", "error of the mean sample"))
        ratio = f" ({style.number(pruned / dense)} times)" if dense else ""
        told = f"The reconstruction error (MSE) goes from {style.number(dense)} to {style.number(pruned)}{ratio}"
        return f"{kept} {told}; that of always predicting the mean sample is {style.number(mean)}."
    if errors:
        return f"{kept} The output changes by {style.number(errors['from the dense output'] ** 0.5)} (root mean square)."
    return kept


def facts(shown: Sparsified) -> dict[str, str]:
    """What it rests on."""
    known = shown.provenance
    steps = known["choice"] if _chosen_together(known) else f"in {known.get('rounds')} rounds"
    way = {"refit": f"{steps}, refitted", "paper": "once, not refitted"}.get(str(known.get("mode")), "")
    return {
        "importance": SCORE_NAMES.get(str(known.get("score")), str(known.get("score", ""))),
        **({"pruned": way} if way else {}),
        **({"measured on": style.pluralize(int(known["samples"]), "sample")} if "samples" in known else {}),
        **({"took": f"{style.number(float(known['seconds']))} s"} if "seconds" in known else {}),
    }


def _chosen_together(known: Mapping[str, Any]) -> bool:
    """Whether alternating directions had a part in the choice."""
    return str(known.get("choice", "")).startswith("alternating directions")


def notes(shown: Sparsified, cuts: Sequence[PrunedLayer]) -> list[str]:
    """What must be known before these numbers are used."""
    told = []
    if shown.provenance.get("mode") == "paper":
        told.append("Nothing was refitted: beyond some 70 % such masks are of little use, whatever the score.")
    elif shown.provenance.get("rounds", 1) > 1:
        told.append(
            "Links were scored anew in every round, and ranks are of the first: one of low rank may have been kept where redundant ones"
            " were pruned."
        )
    elif _chosen_together(shown.provenance):
        told.append("Links were chosen together, not one by one: one of low rank may have been kept where redundant ones were pruned.")
    constant = [f"{cut.scores.shape[0] - cut.alive:,} of {cut.name}" for cut in cuts if cut.alive < cut.scores.shape[0]]
    if constant:
        told.append(f"Units without a link left are constant: {style.join_words(constant)}.")
    told += coverage_notes(shown.coverage)
    told.append(
        "A network of masked weights is as large and as slow as before; compact() and export() make it smaller and fold constants in."
    )
    return told


def coverage_notes(covered: Coverage) -> list[str]:
    """What was never looked at."""
    if not covered.left:
        return []
    first, *rest = covered.lines()
    sentence = covered.sentence()
    return [f"{sentence[0].upper()}{sentence[1:]}. {'; '.join([first[0].upper() + first[1:], *rest])}."]


def layer_rows(cuts: Sequence[PrunedLayer]) -> list[tuple[str, tuple[str, ...]]]:
    """A line per layer."""
    return [
        (
            cut.name,
            (
                f"{cut.mask.numel():,}",
                f"{cut.kept:,}",
                style.percent(1 - cut.kept / cut.mask.numel()),
                style.percent(cut.carried),
                f"{cut.read:,} of {cut.mask.shape[1]:,}",
                f"{cut.alive:,} of {cut.mask.shape[0]:,}",
            ),
        )
        for cut in cuts
    ]


COLUMNS = ("links", "kept", "sparsity", "importance kept", "inputs connected", "units connected")
