"""The contract of a method: what any :class:`vesalius.methods.Method`, ours or a user's, must do, and must keep of what it claims.

    vesalius.audit.check_method(MyMethod()).require()

Axes: B samples.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from vesalius.audit.toy_networks import BATCH, COLUMNS, ToyProblem, token_classifier
from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput, NoRule, NotTraceable, VesaliusError, WrongType
from vesalius.games.absence import Baseline, Marginal
from vesalius.methods import Method, attribute
from vesalius.methods.base import resolve_method
from vesalius.trace import Network

CLAIMS = frozenset({"complete", "dummy", "symmetric", "linear", "sensitive", "accounted", "graph"})
ROUNDING = 1e-8
"""Relative difference that counts as rounding in float64."""
REFINEMENT_TOLERANCE = 2e-2
"""Relative difference allowed to methods that refine to a tolerance."""


@dataclass(frozen=True)
class Check:
    """One thing asked of a method: what, whether it was kept, and what was seen."""

    name: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True)
class ContractReport:
    """What a method kept, and what it broke.

    Attributes:
        method: its name.
        checks: in the order in which they were made.
    """

    method: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether all was kept."""
        return not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        """What was broken."""
        return tuple(check for check in self.checks if not check.passed)

    def require(self) -> None:
        """Nothing, if all was kept.

        Raises:
            InvalidInput: naming what was broken.
        """
        if not self.passed:
            broken = "; ".join(f"{check.name} ({check.detail})" for check in self.failures)
            raise InvalidInput(f"{self.method} breaks its contract: {broken}")

    def __repr__(self) -> str:
        head = f"{self.method}: {len(self.checks) - len(self.failures)} of {len(self.checks)} checks passed"
        lines = [
            f"  {'ok    ' if check.passed else 'BROKEN'}  {check.name}{': ' + check.detail if check.detail else ''}"
            for check in self.checks
        ]
        return "\n".join([head, *lines])


@verb
def check_method(method: str | Method | type[Method]) -> ContractReport:
    """Try a method on small networks, and hold it to its contract.

    Args:
        method: a registered name, a class, or an instance with options; it need not be registered.

    Returns:
        A report: ``.passed``, ``.failures``, and all checks when printed. ``.require()`` raises if something is broken.
    """
    chosen = method() if isinstance(method, type) else resolve_method(method)
    case = _choose_case(chosen)
    checks = []
    for name, claim, check in CHECKS:
        if claim is None or claim in chosen.claims:
            checks.append(_run_check(name, check, case))
    return ContractReport(chosen.name, tuple(checks))


class _ContractViolation(Exception):
    """Something was not kept."""


@dataclass(frozen=True, eq=False)
class _Case:
    """A method, and what it is tried on."""

    method: Method
    subject: ToyProblem
    known: dict[tuple[int, ...], Network] = field(default_factory=dict)

    def network(self, *seeds: int) -> Network:
        """The sum of networks with the given seeds (0 by default), traced once."""
        seeds = seeds or (0,)
        if seeds not in self.known:
            self.known[seeds] = self.subject.network(*seeds)
        return self.known[seeds]

    def run(
        self, network: Network | None = None, x: Tensor | None = None, *, target: int | None = 1, baseline: Baseline = None
    ) -> Allocation:
        network = self.network() if network is None else network
        x = self.subject.samples() if x is None else x
        return attribute(network, x, self.method, target=target, baseline=baseline, at=self.subject.at)


def _choose_case(method: Method) -> _Case:
    """On columns, or on columns with channels if the method refuses plain ones."""
    plain = _Case(method, ToyProblem(channels=False))
    try:
        plain.run()
    except InvalidInput:
        return _Case(method, ToyProblem(channels=True))
    except Exception:
        return plain
    return plain


def _run_check(name: str, check: Callable[[_Case], str], case: _Case) -> Check:
    try:
        return Check(name, True, check(case))
    except _ContractViolation as broken:
        return Check(name, False, str(broken))
    except Exception as error:  # whatever a user's method raises is reported
        return Check(name, False, f"{type(error).__name__}: {error}")


def _require(kept: bool, otherwise: str) -> None:
    if not kept:
        raise _ContractViolation(otherwise)


def _require_close(mine: Tensor, theirs: Tensor, what: str, *, tol: float = ROUNDING) -> str:
    """How far apart two tensors are, as a share of the larger; broken where that is more than ``tol``."""
    _require(mine.shape == theirs.shape, f"{what}: shapes {tuple(mine.shape)} and {tuple(theirs.shape)}")
    size = max(float(theirs.abs().max()), float(mine.abs().max()), 1e-12)
    apart = float((mine - theirs).abs().max()) / size
    _require(apart <= tol, f"{what} by {apart:.2g}, allowed {tol:.0e}")
    return f"{apart:.1g}"


# ---- what every method must do ----------------------------------------------------------------------------------------------------


def _check_claims(case: _Case) -> str:
    unknown = sorted(case.method.claims - CLAIMS)
    _require(not unknown, f"unknown claims {unknown}; known: {sorted(CLAIMS)}")
    return ", ".join(sorted(case.method.claims))


def _check_shapes(case: _Case) -> str:
    found = case.run()
    _require(isinstance(found, Allocation), f"allocate returned {type(found).__name__}, not an Allocation")
    _require(found.base.shape == (BATCH,), f"base has shape {tuple(found.base.shape)}, expected ({BATCH},)")
    _require(found.values.shape == (BATCH, *found.players.shape), f"values have shape {tuple(found.values.shape)}")
    _require(bool(found.values.isfinite().all()), "values are NaN or infinite")
    _require(bool((found.evaluations > 0).all()), "evaluations are not counted")
    return f"values {tuple(found.values.shape)}"


def _check_dtype(case: _Case) -> str:
    single = case.network().cast(torch.float32)
    for network, dtype in ((case.network(), torch.float64), (single, torch.float32)):
        found = case.run(network, case.subject.samples().to(dtype))
        _require(found.values.dtype == dtype, f"a network in {dtype} gives values in {found.values.dtype}")
    return "float32 and float64"


def _check_base_and_total(case: _Case) -> str:
    network, x = case.network(), case.subject.samples()
    found = case.run(network, x, baseline=0.5)
    _require_close(found.total, network(x)[:, 1], "total differs from the output")
    return _require_close(found.base, network(torch.full_like(x, 0.5))[:, 1], "base differs from the output at the baseline")


def _check_several_baselines(case: _Case) -> str:
    network, background = case.network(), case.subject.samples(3) + 1
    found = case.run(network, baseline=Marginal(background=background))
    _require(bool(found.values.isfinite().all()), "values are NaN or infinite")
    return _require_close(found.base, network(background)[:, 1].mean().expand(BATCH), "base differs from the mean output of the background")


def _check_single_sample(case: _Case) -> str:
    batch, x = case.run(), case.subject.samples()
    apart = []
    for row in range(BATCH):
        alone = case.run(x=x[row])
        _require(alone.base.ndim == 0, "a single sample gives a batch axis")
        apart.append(_require_close(alone.values, batch[row].values, f"sample {row} alone differs from the batch"))
    return max(apart, key=float)


def _check_batch_order(case: _Case) -> str:
    turned = case.run(x=case.subject.samples().flip(0)).values.flip(0)
    return _require_close(turned, case.run().values, "values depend on the order of the batch")


def _check_determinism(case: _Case) -> str:
    network = case.network()
    first, second = case.run(network).values, case.run(network).values
    _require(bool(torch.equal(first, second)), "two runs differ; draw with a generator seeded by a field")
    return ""


def _check_side_effects(case: _Case) -> str:
    network, x, baseline = case.network(), case.subject.samples(), torch.full(case.subject.event, 0.5, dtype=torch.float64)
    before = {name: tensor.clone() for name, tensor in network.parameters.items()}
    copies, state, digest = (x.clone(), baseline.clone()), torch.get_rng_state(), network.digest()
    case.run(network, x, baseline=baseline)
    _require(network.digest() == digest, "the network was changed")
    for name, tensor in network.parameters.items():
        _require(bool(torch.equal(tensor, before[name])), f"the parameter {name} was changed")
        _require(tensor.grad is None, f"the parameter {name} was left with a gradient")
    _require(bool(torch.equal(x, copies[0])) and not x.requires_grad, "the samples were changed")
    _require(bool(torch.equal(baseline, copies[1])), "the baseline was changed")
    _require(bool(torch.equal(torch.get_rng_state(), state)), "the global random state was used")
    return ""


def _check_save_and_load(case: _Case) -> str:
    found = case.run()
    with tempfile.TemporaryDirectory() as folder:
        again = Allocation.load(found.save(Path(folder) / "allocation"))
    _require(bool(torch.equal(again.values, found.values)), "values differ after saving and loading")
    _require(again.provenance["method"] == case.method.name, "the provenance does not name the method")
    return ""


def _bad_calls(case: _Case) -> Iterator[tuple[str, Callable[[], Allocation]]]:
    x, network = case.subject.samples(), case.network()
    wrong = torch.zeros(COLUMNS + 2, dtype=torch.float64)
    yield "NaN in a sample", lambda: case.run(network, x.clone().index_fill_(0, torch.tensor([2]), float("nan")))
    yield "no samples", lambda: case.run(network, x[:0])
    yield "samples of another width", lambda: case.run(network, x[:, :-1])
    yield "a target out of range", lambda: case.run(network, target=9)
    yield "a baseline of another shape", lambda: case.run(network, baseline=wrong)
    yield "a baseline that is NaN", lambda: case.run(network, baseline=float("nan"))
    yield "a NaN in the background", lambda: case.run(network, baseline=Marginal(background=x[:2] * float("nan")))


def _check_bad_input(case: _Case) -> str:
    told = 0
    for what, run in _bad_calls(case):
        try:
            run()
        except VesaliusError:
            told += 1
        except Exception as error:
            raise _ContractViolation(f"{what} raises {type(error).__name__}, which does not tell the user what to do") from error
        else:
            raise _ContractViolation(f"{what} is accepted")
    return f"{told} kinds"


def _check_constant_output(case: _Case) -> str:
    found = case.run(case.subject.flat(), target=None)
    _require(bool(found.values.isfinite().all()), "values of a constant output are NaN or infinite")
    _require(
        "complete" not in case.method.claims or float(found.gap.abs().max()) <= ROUNDING, "values of a constant output do not add up to 0"
    )
    return f"largest value {float(found.values.abs().max()):.1g}"


def _check_opaque_network(case: _Case) -> str:
    network, x = case.subject.opaque(), case.subject.samples()
    try:
        attribute(network, x, case.method, target=1)
    except (NotTraceable, NoRule):
        _require("graph" in case.method.claims, "refuses a network without a graph, but does not claim 'graph'")
        return "refused by name"
    _require("graph" not in case.method.claims, "claims 'graph', but runs on a network without one")
    return "runs"


def _check_integer_input(case: _Case) -> str:
    network, ids = token_classifier()
    try:
        attribute(network, ids, case.method, target=1, at="ids")
    except (WrongType, InvalidInput) as error:
        return f"refused: {type(error).__name__}"
    _require("sensitive" not in case.method.claims, "claims 'sensitive', but accepts integers, which have no gradient")
    return "runs"


# ---- what a method must keep of what it claims -------------------------------------------------------------------------------------


def _check_completeness(case: _Case) -> str:
    found = case.run()
    _require_close(
        found.total - found.base - found.gap,
        found.total - found.base,
        "values do not add up to the output's change",
        tol=REFINEMENT_TOLERANCE / 2,
    )
    return f"largest gap {float(found.relative_gap.max()):.1g}"


def _check_accounting(case: _Case) -> str:
    found = case.run()
    share = float((found.unaccounted.abs() / found.total.abs()).max())
    _require(bool(found.absorbed) and share <= ROUNDING, f"values and what was absorbed miss the output by {share:.2g}")
    return ", ".join(found.absorbed)


def _check_dummy(case: _Case) -> str:
    values = case.run().values
    share = float(values[:, 0].abs().max() / values.abs().max())
    _require(share <= ROUNDING, f"a column without effect gets {share:.2g} of the largest value")
    return f"{share:.1g}"


def _check_symmetry(case: _Case) -> str:
    values = case.run().values
    return _require_close(values[:, 3], values[:, 4], "columns of equal effect differ")


def _check_linearity(case: _Case) -> str:
    both = case.run(case.network(0, 1)).values
    apart = case.run(case.network(0)).values + case.run(case.network(1)).values
    return _require_close(both, apart, "the values of a sum of networks differ from the sum of their values", tol=REFINEMENT_TOLERANCE)


CHECKS: tuple[tuple[str, str | None, Callable[[_Case], str]], ...] = (
    ("claims are known words", None, _check_claims),
    ("shapes", None, _check_shapes),
    ("keeps the dtype", None, _check_dtype),
    ("base and total are the output", None, _check_base_and_total),
    ("takes several baselines", None, _check_several_baselines),
    ("a single sample is a row of the batch", None, _check_single_sample),
    ("the order of the batch does not matter", None, _check_batch_order),
    ("gives the same twice", None, _check_determinism),
    ("leaves network, inputs and random state alone", None, _check_side_effects),
    ("can be saved and loaded", None, _check_save_and_load),
    ("says what is wrong with bad input", None, _check_bad_input),
    ("a constant output is no trouble", None, _check_constant_output),
    ("networks without a graph", None, _check_opaque_network),
    ("integer inputs", None, _check_integer_input),
    ("complete", "complete", _check_completeness),
    ("accounted", "accounted", _check_accounting),
    ("dummy", "dummy", _check_dummy),
    ("symmetric", "symmetric", _check_symmetry),
    ("linear", "linear", _check_linearity),
)
"""Name, the claim that it belongs to (``None``: asked of every method), and the check."""
