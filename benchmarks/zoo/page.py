"""The page of ``docs/`` that says which methods add up on which architectures, from what was found about each model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

Found = Mapping[str, Any]

METHODS = {
    "deeplift_rescale": "DeepLIFT",
    "deeplift_revealcancel": "RevealCancel",
    "deep_shap": "Deep SHAP",
    "integrated_gradients": "integrated gradients",
    "expected_gradients": "expected gradients",
}
ACCOUNT, CALLS = "lrp_epsilon", ("shapley_value", "occlusion", "interactions")
BOUNDS = {"float32": 1e-5, "float64": 1e-10}
ACCOUNT_BOUND = 1e-4
PEERS = {
    "captum DeepLift": "captum's DeepLIFT",
    "captum IntegratedGradients": "captum's integrated gradients (50 steps)",
    "zennit EpsilonPlus": "zennit's EpsilonPlus",
}

HEAD = """# Architectures

Which methods add up on which architectures: {count} small models of {families} families with random weights, built, traced and asked by
`make zoo`, which writes this page from `benchmarks/architectures.jsonl` (a test holds them equal). A model is asked in single and in double
precision, about one sample and about three. A method is *complete* where its values miss at most 1e-5 of the output's change from the
baseline in `float32`, and at most 1e-10 of it in `float64`, in each of these calls. The baseline is zero, of words an embedding of zeros;
Deep SHAP and expected gradients have a background of two samples. LRP is *closed* where values and what was absorbed miss at most 1e-4 of
the output. Models are as small as in tests, so a pass takes milliseconds, and multiples of it are mostly the bookkeeping of a call:
networks of a useful size are in the [measured claims](../benchmarks/README.md).
"""
FAMILY_NOTE = """Of each family how many models are traced (and equal to the model), and on how many each method is complete; median seconds
of a trace (the first of its process), that as a multiple of a plain `torch.export` after it, and passes forward and backward that
a call takes.

"""
BLACK_BOX_NOTE = """These have no graph that could be trusted. Methods that only call a model explain them: Shapley values, occlusion and
the dividend of four parts of the input, against all orders and coalitions of the model itself, as the largest difference in units of the
largest output.

"""
EVERY_NOTE = """The largest share that any of the five methods misses, in both precisions; what LRP leaves open; and captum's DeepLIFT,
its integrated gradients of 50 steps, and zennit's EpsilonPlus, which keeps no account of biases and whose share is of the output.

"""


def write_page(path: Path, results: Sequence[Found], zoo: Sequence[str]) -> None:
    """Under a temporary name first."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(page(results, zoo), "utf-8")
    temporary.replace(path)


def page(results: Sequence[Found], zoo: Sequence[str]) -> str:
    """The text of the page, from results and the names of all models of the zoo."""
    missing = [name for name in zoo if name not in {one["name"] for one in results}]
    families = {one["family"] for one in results}
    parts = [
        HEAD.format(count=len(results), families=len(families)),
        "## In short\n\n" + _summary(results),
        "## By family\n\n" + FAMILY_NOTE + _families(results),
        "## Black boxes\n\n" + BLACK_BOX_NOTE + _black_boxes(results),
        "## Refused, or beyond the bound\n\n" + _refused(results),
        "## What captum and zennit raise\n\n" + _raised(results),
        "## Every model\n\n" + EVERY_NOTE + _every(results),
        f"## Not examined yet\n\n{len(missing)} models of the zoo wait for the next `make zoo`: {', '.join(missing)}.\n" if missing else "",
    ]
    return "\n".join(part.rstrip() + "\n" for part in parts if part)


# ---- judging ----------------------------------------------------------------------------------------------------------------------


def runs(one: Found) -> bool:
    """Whether the model runs at all."""
    return "fails" not in one


def traced(one: Found) -> bool:
    """Whether it has a graph that has the model's output."""
    return "methods" in one and all(share <= bound for share, bound in zip(one["differs"].values(), (1e-5, 1e-10), strict=False))


def complete(one: Found, method: str) -> bool:
    """Whether a method misses no more than the bound of each precision in any call."""
    found = one.get("methods", {}).get(method, {})
    return bool(found) and all(_within(gap, BOUNDS[precision]) for precision, gaps in found.items() for gap in gaps)


def all_complete(one: Found) -> bool:
    """Whether it is traced, and all methods are complete."""
    return traced(one) and all(complete(one, method) for method in METHODS)


def closed(one: Found) -> bool:
    """Whether LRP's account is."""
    found = one.get("methods", {}).get(ACCOUNT, {})
    return bool(found) and all(_within(gap, ACCOUNT_BOUND) for gaps in found.values() for gap in gaps)


def right_by_calls(one: Found) -> bool:
    """Whether a black box has right answers of what only calls it."""
    return "black_box" in one and all(_within(one.get(name), BOUNDS["float32"]) for name in CALLS)


def _within(gap: Any, bound: float) -> bool:
    return isinstance(gap, float) and gap <= bound


def worst(one: Found, precision: str, methods: Iterable[str] = tuple(METHODS)) -> float | None:
    """The largest share that is missed where methods answered."""
    gaps = [gap for method in methods for gap in one.get("methods", {}).get(method, {}).get(precision, ()) if isinstance(gap, float)]
    return max(gaps, default=None)


# ---- sections ---------------------------------------------------------------------------------------------------------------------


def _summary(results: Sequence[Found]) -> str:
    able = [one for one in results if runs(one)]
    graphs = [one for one in able if traced(one)]
    boxes = [one for one in able if "black_box" in one]
    rows = [
        ("run at all", _of(len(able), len(results))),
        ("traced, equal to the model", _of(len(graphs), len(able))),
        ("black boxes, right by Shapley values, occlusion and dividends", _of(sum(map(right_by_calls, boxes)), len(boxes))),
        ("traced, and all five methods complete", _of(sum(map(all_complete, graphs)), len(graphs))),
        *((f"{METHODS[method]} complete", _of(sum(complete(one, method) for one in graphs), len(graphs))) for method in METHODS),
        ("LRP closed", _of(sum(map(closed, graphs)), len(graphs))),
        *(
            (f"{name} misses at most 1e-5, where traced", _of(sum(_within(one.get(key), 1e-5) for one in graphs), len(graphs)))
            for key, name in PEERS.items()
        ),
        *(
            (f"{name} raises, where traced", _of(sum(isinstance(one.get(key), str) for one in graphs), len(graphs)))
            for key, name in PEERS.items()
        ),
        ("trace time over `torch.export`, median", _number(_median(graphs, _export_ratio), 2)),
    ]
    return _table(("", "models"), rows)


def _families(results: Sequence[Found]) -> str:
    groups: dict[str, list[Found]] = defaultdict(list)
    for one in results:
        if runs(one):
            groups[one["family"]].append(one)
    head = (
        "family",
        "models",
        "traced",
        *METHODS.values(),
        "LRP closed",
        "trace s",
        "of export",
        "DeepLIFT passes",
        "IG passes",
        "captum DeepLIFT",
    )
    rows = []
    for family in sorted(groups):
        group = groups[family]
        passes = [
            _number(_median(group, lambda one, name=name: one["seconds"][name] / one["pass"]), 0)
            for name in ("deeplift_rescale", "integrated_gradients")
        ]
        rows.append(
            (
                family,
                len(group),
                sum(map(traced, group)),
                *(sum(complete(one, method) for one in group) for method in METHODS),
                sum(map(closed, group)),
                _number(_median(group, lambda one: one["trace"]), 2),
                _number(_median(group, _export_ratio), 1),
                *passes,
                sum(_within(one.get("captum DeepLift"), 1e-5) for one in group),
            )
        )
    return _table(head, rows)


def _black_boxes(results: Sequence[Found]) -> str:
    rows = [(one["name"], *(_share(one.get(name)) for name in CALLS), _escape(one["black_box"])) for one in results if "black_box" in one]
    return _table(("model", "Shapley", "occlusion", "dividend", "why it has no graph"), rows) if rows else "None.\n"


def _refused(results: Sequence[Found]) -> str:
    rows: list[tuple[object, ...]] = [(one["name"], "the model", _escape(one["fails"])) for one in results if not runs(one)]
    for one in results:
        if "double" in one:
            rows.append((one["name"], "in double precision the model", _escape(one["double"])))
        for method, found in one.get("methods", {}).items():
            words = next((gap for gaps in found.values() for gap in gaps if isinstance(gap, str)), None)
            right = closed(one) if method == ACCOUNT else complete(one, method)
            if not right:
                shares = ", ".join(f"{_share(worst(one, precision, (method,)))} in {precision}" for precision in found)
                rows.append((one["name"], METHODS.get(method, "LRP"), _escape(words) if words else f"misses {shares}"))
    return _table(("model", "what", "why"), rows) if rows else "Nothing.\n"


def _raised(results: Sequence[Found]) -> str:
    counts: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in results:
        for key, name in PEERS.items():
            if isinstance(one.get(key), str):
                counts[name, one[key][:90]].append(one["name"])
    ordered = sorted(counts.items(), key=lambda item: (item[0][0], -len(item[1]), item[0][1]))
    return _table(
        ("peer", "what it raises", "models", "such as"), [(name, _escape(words), len(who), who[0]) for (name, words), who in ordered]
    )


def _every(results: Sequence[Found]) -> str:
    head = ("model", "family", "float32", "float64", "LRP", "trace s", *PEERS)
    rows = []
    for one in results:
        if not runs(one):
            continue
        precisions = [_share(worst(one, precision)) for precision in BOUNDS]
        account = worst(one, "float32", (ACCOUNT,))
        box = "black box" if "black_box" in one else ""
        peers = [_share(one.get(key)) if isinstance(one.get(key), float) else "raises" if key in one else "" for key in PEERS]
        rows.append(
            (one["name"], one["family"], box or precisions[0], precisions[1], _share(account), _number(one.get("trace"), 2), *peers)
        )
    return _table(head, rows)


# ---- numbers and tables -----------------------------------------------------------------------------------------------------------


def _export_ratio(one: Found) -> float:
    return float(one["trace"] / one["export"])


def _median(results: Iterable[Found], read: Callable[[Found], float]) -> float | None:
    found = []
    for one in results:
        try:
            found.append(read(one))
        except (KeyError, TypeError):  # a black box, or torch.export raised
            continue
    return median(found) if found else None


def _of(count: int, whole: int) -> str:
    return f"{count} of {whole}" + (f" ({100 * count / whole:.0f} %)" if whole else "")


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _share(value: Any) -> str:
    return "" if value is None else "refused" if isinstance(value, str) else "0" if value == 0 else f"{value:.0e}"


def _escape(words: str) -> str:
    """Words of an error as code, in a cell of a table."""
    return "`" + words.replace("`", "'").replace("|", "\\|") + "`"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)]) + "\n"
