"""Names of ops, names of kinds, and second names: each in a space of its own."""

import pytest
import torch
import torch.nn.functional as F

import vesalius as vs
from tests.rules.single_op import EXACT, TABLES, Op, multipliers, random, readout, slopes
from vesalius.core.errors import NoRule
from vesalius.rules.lrp import LRP
from vesalius.rules.op_kinds import KIND_BY_OP, OPS_BY_KIND, op_kind, op_name
from vesalius.rules.rescale import RESCALE
from vesalius.rules.taylor_mode import TAYLOR
from vesalius.trace.opset import ALIASES, op_family
from vesalius.trace.question import ask

aten = torch.ops.aten

SPELLINGS = {
    "multiply": (torch.multiply, torch.mul, 2),
    "divide": (lambda a, b: torch.divide(a, b.exp()), lambda a, b: a / b.exp(), 2),
    "true_divide": (lambda a, b: torch.true_divide(a, b.exp()), lambda a, b: a / b.exp(), 2),
    "subtract": (lambda a, b: torch.subtract(a, b, alpha=2), lambda a, b: torch.sub(a, b, alpha=2), 2),
    "negative": (torch.negative, torch.neg, 1),
    "absolute": (torch.absolute, torch.abs, 1),
    "arctan": (torch.arctan, torch.atan, 1),
    "arctan2": (torch.arctan2, torch.atan2, 2),
    "clip": (lambda a: torch.clip(a, -0.5, 0.5), lambda a: a.clamp(-0.5, 0.5), 1),
    "fix": (torch.fix, torch.trunc, 1),
    "greater": (lambda a, b: torch.greater(a, b).double(), lambda a, b: (a > b).double(), 2),
    "less_equal": (lambda a: torch.less_equal(a, 0.1).double(), lambda a: (a <= 0.1).double(), 1),
    "not_equal": (lambda a: torch.not_equal(a, 0.1).double(), lambda a: (a != 0.1).double(), 1),
    "concatenate": (lambda a, b: torch.concatenate([a, b], 1), lambda a, b: torch.cat([a, b], 1), 2),
    "moveaxis": (lambda a: torch.moveaxis(a[:, None], 1, 2), lambda a: a[:, None].transpose(1, 2), 1),
    "swapdims": (lambda a: torch.swapdims(a[:, None], 1, 2), lambda a: a[:, None].transpose(1, 2), 1),
    "special.expit": (torch.special.expit, torch.sigmoid, 1),
    "special.softmax": (lambda a: torch.special.softmax(a, 1), lambda a: a.softmax(1), 1),
    "special.log_softmax": (lambda a: torch.special.log_softmax(a, 1), lambda a: a.log_softmax(1), 1),
    "special.logsumexp": (lambda a: torch.special.logsumexp(a, 1), lambda a: a.logsumexp(1), 1),
    "special.expm1": (torch.special.expm1, torch.expm1, 1),
    "linalg.matmul": (lambda a, b: torch.linalg.matmul(a[:, :, None], b[:, None]), lambda a, b: a[:, :, None] @ b[:, None], 2),
    "view_copy": (lambda a: torch.view_copy(a, [a.shape[0], 1, 5]), lambda a: a[:, None], 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", SPELLINGS)
def test_a_second_name_has_the_rule_of_the_first(name, table):
    """``multipliers`` checks that both add up; a total of another function would show."""
    function, first, count = SPELLINGS[name]
    xs, bs = (tuple(random(2, 5, seed=seed + i) for i in range(count)) for seed in (1, 11))
    m = readout(first, xs)
    for found, expected in zip(*(multipliers(spelled, xs, bs, m, table) for spelled in (function, first)), strict=True):
        torch.testing.assert_close(found, expected, **EXACT)


def test_a_second_name_is_known_without_opening_the_op():
    assert [op_name(op) for op in (aten.multiply.Tensor, aten.special_expit.default, aten.view_copy.default)] == ["mul", "sigmoid", "view"]


def test_second_names_are_not_first_names_too():
    for alias, name in ALIASES.items():
        assert name not in ALIASES
        assert alias not in KIND_BY_OP or KIND_BY_OP[alias] == KIND_BY_OP.get(name)
    assert op_family(aten.multiply.Tensor) == "bilinear"


def test_an_op_called_like_a_kind_is_not_of_that_kind():
    """aten has ops called norm and choose-like names; kinds are found through the names listed under them alone."""
    assert op_kind(aten.norm.ScalarOpt_dim) == ""
    for kind, ops in OPS_BY_KIND.items():
        if kind not in ops.split() and hasattr(aten, kind):
            overload = getattr(aten, kind)
            assert op_kind(getattr(overload, overload.overloads()[0])) != kind or kind in ALIASES


@torch.library.custom_op("names::softmax", mutates_args=())
def another_softmax(x: torch.Tensor) -> torch.Tensor:
    return x * 3


@another_softmax.register_fake
def _(x):
    return torch.empty_like(x)


another_softmax.register_autograd(lambda ctx, grad: grad * 3)


def test_somebody_elses_op_is_not_taken_for_torchs():
    target = torch.ops.names.softmax.default
    assert op_name(target) == "names::softmax"
    assert [table.find(target) for table in (RESCALE, LRP, TAYLOR)] == [None] * 3
    model = Op(lambda z: another_softmax(z), random(5, seed=3))
    with pytest.raises(NoRule, match="names::softmax"):
        vs.attribute(vs.trace(model, random(2, 5)), random(2, 5, seed=1), "deeplift_rescale")


OPENED = {
    "mse_loss": lambda z: F.mse_loss(z, torch.ones_like(z), reduction="none"),
    "binary cross entropy": lambda z: F.binary_cross_entropy_with_logits(z, torch.full_like(z, 0.3), reduction="none"),
    "kl_div": lambda z: F.kl_div(z.log_softmax(1), torch.full_like(z, 0.2), reduction="none"),
    "logit": lambda z: torch.logit(z.sigmoid() * 0.9),
    "triplet": lambda z: F.triplet_margin_loss(z, z.flip(1), z * 0.5, reduction="none")[:, None],
    "trapezoid": lambda z: torch.trapezoid(z**2, dim=1)[:, None],
    "rot90": lambda z: torch.rot90(z[:, :, None] * z[:, None], 1, (1, 2)),
}


@pytest.mark.parametrize("name", OPENED)
def test_what_torch_can_open_adds_up_in_any_batch(name):
    """Opened at run time, for the sizes at hand: a sample alone has what it has among others."""
    function = OPENED[name]
    x, b = random(3, 5, seed=1), random(3, 5, seed=2)
    m = readout(function, (x,))
    (found,) = multipliers(function, (x,), (b,), m)
    (alone,) = multipliers(function, (x[1:2],), (b[1:2],), m)
    torch.testing.assert_close(found[1:2], alone, **EXACT)


def test_what_nobody_can_open_is_refused_by_its_own_name():
    model = Op(torch.special.bessel_j0, random(3, seed=3))
    network, x = vs.trace(model, random(2, 3)), random(2, 3, seed=1)
    with pytest.raises(NoRule, match="special_bessel_j0"):
        slopes(ask(network, x), (torch.zeros_like(x),), "rescale")
