"""The contract: every registered method keeps it, and a broken one is told what it broke."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from vesalius.audit import check_method
from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.methods import METHODS, GradientXInput, IntegratedGradients, Method, Occlusion, ShapleyValue


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_registered_method_keeps_its_contract(as_a_user, name):
    found = check_method(name)
    assert found.passed, found
    assert found.method == name and len(found.checks) >= 14
    found.require()


@pytest.mark.slow
def test_instances_and_classes_and_names(as_a_user):
    assert check_method(Occlusion).passed
    found = check_method(IntegratedGradients(rule="quadrature"))
    assert found.passed, found
    with pytest.raises(UnknownName, match="occlusion"):
        check_method("oclusion")


@dataclass(frozen=True, kw_only=True)
class Wrong(Method):
    """Gradient x Input, until something is broken."""

    name: ClassVar[str] = "wrong"
    claims: ClassVar[frozenset[str]] = frozenset({"dummy", "linear", "sensitive"})

    def allocate(self, question, absence):
        return self.broken(GradientXInput().allocate(question, absence), question)

    def broken(self, found, question):
        return found


class Random(Wrong):
    def broken(self, found, question):
        return replace(found, values=found.values + torch.randn(found.values.shape, dtype=found.values.dtype))


class Mixing(Wrong):
    def broken(self, found, question):
        return replace(found, values=found.values - found.values.mean(0))


class Reordered(Wrong):
    def broken(self, found, question):
        return replace(found, values=found.values + torch.arange(len(found.values))[:, None])


class Double(Wrong):
    def broken(self, found, question):
        return replace(found, values=found.values.double())


class Spoiling(Wrong):
    def broken(self, found, question):
        next(iter(question.network.parameters.values())).data.mul_(1.01)
        return found


class Writing(Wrong):
    def broken(self, found, question):
        question.inputs[0].add_(1e-3)
        return found


class Uncounted(Wrong):
    def broken(self, found, question):
        return replace(found, evaluations=torch.zeros(len(found)).long())


class Shifted(Wrong):
    def broken(self, found, question):
        return replace(found, total=found.total + 1)


class Bold(Wrong):
    claims: ClassVar[frozenset[str]] = frozenset({"complete", "dummy", "sensitive", "graph", "accounted", "fair"})


class Spread(Wrong):
    claims: ClassVar[frozenset[str]] = frozenset({"dummy", "symmetric", "linear", "sensitive"})

    def broken(self, found, question):
        values = found.values.clone()
        values[:, 0] += values[:, 4] ** 2
        return replace(found, values=values + 0 * found.values)


class Leaning(Wrong):
    claims: ClassVar[frozenset[str]] = frozenset({"symmetric", "linear", "sensitive"})

    def broken(self, found, question):
        return replace(found, values=found.values * torch.arange(5))


class Crashing(Wrong):
    def broken(self, found, question):
        raise RuntimeError("a stray error")


BROKEN = {
    Random: {"gives the same twice", "leaves network, inputs and random state alone", "a single sample is a row of the batch"},
    Mixing: {"a single sample is a row of the batch"},
    Reordered: {"the order of the batch does not matter", "dummy"},
    Double: {"keeps the dtype"},
    Spoiling: {"leaves network, inputs and random state alone"},
    Writing: {"leaves network, inputs and random state alone"},
    Uncounted: {"shapes"},
    Shifted: {"base and total are the output"},
    Bold: {"claims are known words", "complete", "accounted", "networks without a graph"},
    Spread: {"dummy", "linear"},
    Leaning: {"symmetric"},
    Crashing: {"shapes", "keeps the dtype", "a constant output is no trouble"},
}


@pytest.mark.slow
@pytest.mark.parametrize("method", BROKEN)
def test_a_broken_method_is_told_what_it_broke(as_a_user, method):
    found = check_method(method())
    failures = {check.name for check in found.failures}
    assert BROKEN[method] <= failures and not found.passed
    assert failures == BROKEN[method] or method not in (Double, Shifted, Uncounted, Leaning)
    assert ("RuntimeError: a stray error" in repr(found)) == (method is Crashing)
    assert "BROKEN" in repr(found)
    with pytest.raises(InvalidInput, match="wrong breaks its contract"):
        found.require()


@pytest.mark.slow
def test_what_breaks_nothing_passes(as_a_user):
    assert check_method(Wrong()).passed
    noisy = check_method(ShapleyValue(estimator="permutation", budget=30))
    assert {check.name for check in noisy.failures} <= {"symmetric"}, "every sample gets the same draws"
