"""Series through single ops and through networks, against autograd within autograd."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import vesalius as vs
from tests.reference import taylor_effects as twin
from tests.rules.op_cases import EVERYWHERE, OPS, POSITIVE, WITHOUT_A_SERIES, M, Together, drawn, together
from tests.rules.single_op import Op, random, readout
from tests.zoo.catalogue import specimen
from vesalius.core.errors import InvalidInput, NoRule, NotTraceable, WrongType
from vesalius.rules import power_series
from vesalius.rules.op_kinds import OPS_BY_KIND as KINDS
from vesalius.rules.taylor_mode import DISCONTINUOUS, PIECEWISE_CURVED, PIECEWISE_LINEAR, TaylorExpansion, to_double
from vesalius.trace.question import ask

CLOSE = {"rtol": 1e-9, "atol": 1e-9}
FUNCTIONS = {**EVERYWHERE, **POSITIVE}
ORDER = 5


def expanded(network, bs, ds, order, target=None):
    found = TaylorExpansion(ask(network, bs, target=target), order).along(bs, ds, torch.arange(len(bs[0])))
    return found.coefficients, found.pieces


@cache
def all_at_once(positive):
    """Starts and steps of two lines, and the series of every function along them: a row each, since a row can have a target of its own."""
    b, d = random(2, 7, seed=1), random(2, 7, seed=2)
    b = b.abs() + 0.5 if positive else b
    count = len(POSITIVE if positive else EVERYWHERE)
    found, _ = expanded(
        together(positive), (b.repeat(count, 1),), (d.repeat(count, 1),), ORDER, target=torch.arange(count).repeat_interleave(2)
    )
    return b, d, found.reshape(count, 2, -1)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_one_number(name):
    positive = name in POSITIVE
    b, d, found = all_at_once(positive)
    function, place = twin.SPELLED_OUT_OPS.get(name, FUNCTIONS[name]), list(POSITIVE if positive else EVERYWHERE).index(name)
    for row in range(2):
        expected = twin.taylor_coefficients(lambda z: function(z) @ M, b[row], d[row], ORDER)
        torch.testing.assert_close(found[place, row], expected, **CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPS)
def test_ops_of_several_numbers(name):
    function, shapes = OPS[name]
    bs, ds = drawn(shapes), drawn(shapes, seed=40)
    model = Op(function, readout(function, bs)).eval()
    found, _ = expanded(vs.trace(model, *bs), bs, ds, 4)
    spelled = Op(twin.SPELLED_OUT_OPS.get(name, function), model.m)
    for row in range(2):
        rows = [tuple(tensor[row : row + 1] for tensor in tensors) for tensors in (bs, ds)]
        torch.testing.assert_close(found[row], twin.taylor_coefficients(spelled, *rows, 4), **CLOSE)


def test_functions_are_analytic_or_say_that_they_are_not():
    b = (random(2, 7, seed=1),)
    _, pieces = expanded(together(False), b, b, 1, target=0)
    bent = {together(False).values[name].op for name in pieces}
    tried = {value.op for value in together(False).values.values()} & set(KINDS["elementwise"].split())
    assert bent & tried == tried - set(power_series.FUNCTIONS) - {"pow"}
    assert not set(power_series.FUNCTIONS) & (PIECEWISE_LINEAR | DISCONTINUOUS | set(PIECEWISE_CURVED))


def test_torch_is_wrong_about_the_third_derivative_of_layer_norm():
    """Why the twin spells it out: central differences side with the spelled-out one. If this fails, torch has been mended."""
    b, d, m = random(1, 5, seed=1), random(1, 5, seed=2), random(5, seed=3)
    torchs, spelled = (
        twin.taylor_coefficients(lambda z, norm=norm: (norm(z) * m).sum(), b, d, 3)[3]
        for norm in (lambda z: F.layer_norm(z, (5,)), twin.SPELLED_OUT_OPS["layer_norm"])
    )
    h = 4e-3
    at = [float((F.layer_norm(b + t * h * d, (5,)) * m).sum()) for t in (-2, -1, 1, 2)]
    differences = (at[3] - 2 * at[2] + 2 * at[1] - at[0]) / (2 * h**3) / 6
    assert abs(differences - spelled) < 1e-2 * abs(spelled)
    assert abs(torchs - spelled) > 0.1 * abs(spelled)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.head = nn.Linear(12, 2)

    def forward(self, x):
        q, k, v = (layer(x).reshape(-1, 3, 2, 2).transpose(1, 2) for layer in self.maps)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(-1, 3, 4)
        return self.head(F.gelu(x + y).flatten(1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.gru = nn.LSTM(3, 4, batch_first=True), nn.GRU(4, 3, batch_first=True, bidirectional=True)
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.gru(self.lstm(x)[0])[0][:, -1])


NETS = {
    "tanh": (lambda: nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2)), (5,)),
    "softmax": (lambda: nn.Sequential(nn.Linear(5, 6), nn.Softmax(1), nn.Linear(6, 2), nn.LogSoftmax(1)), (5,)),
    "convolutions": (
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.SiLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 2)),
        (1, 4, 4),
    ),
    "attention": (Attention, (3, 4)),
    "recurrent": (Recurrent, (4, 3)),
}


@pytest.mark.parametrize("name", NETS)
def test_networks(name):
    torch.manual_seed(0)
    make, shape = NETS[name]
    model = make().double().eval()
    b, d = random(2, *shape, seed=1), random(2, *shape, seed=2)
    found, pieces = expanded(vs.trace(model, b), (b,), (d,), 4, target=1)
    assert pieces == ()
    for row in range(2):
        with sdpa_kernel(SDPBackend.MATH):  # the others have no second derivative
            expected = twin.taylor_coefficients(lambda z: model(z)[0, 1], b[row : row + 1], d[row : row + 1], 4)
        torch.testing.assert_close(found[row], expected, rtol=1e-8, atol=1e-10)


def test_constants_are_of_order_zero_alone():
    model = nn.Linear(3, 1).double()
    b = random(1, 3)
    found, _ = expanded(vs.trace(model, b), (b,), (torch.zeros(1, 3).double(),), 3)
    assert found[0, 0] == model(b) and not found[0, 1:].any()


def test_many_orders_do_not_cancel():
    """1 / (1 - t) has ones for ever, exp(t) the reciprocals of factorials."""
    net = vs.trace(Together([lambda z: 1 / (1 - z), torch.exp]), torch.zeros(1, 7).double())
    b, d = torch.zeros(1, 7).double(), torch.ones(1, 7).double()
    ones, _ = expanded(net, (b,), (d,), 60, target=0)
    torch.testing.assert_close(ones / M.sum(), torch.ones(1, 61).double(), rtol=1e-12, atol=0)
    powers, _ = expanded(net, (b,), (d,), 60, target=1)
    exact = [float(M.sum()) / torch.arange(1, k + 1).double().prod() for k in range(61)]
    torch.testing.assert_close(powers[0], torch.tensor(exact).double(), rtol=1e-12, atol=0)


def test_a_line_that_starts_on_a_kink_follows_the_piece_it_enters():
    model = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 1, bias=False)).double()
    x = random(4, 2)
    zero = torch.zeros_like(x)
    found, pieces = expanded(vs.trace(model, x), (zero,), (x,), 3)
    torch.testing.assert_close(found[:, 1], model(x)[:, 0])
    assert not found[:, 0].any() and not found[:, 2:].any()
    assert pieces == ("1/relu",)


def test_single_precision_is_made_double():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x = random(2, 3).float()
    question, fills = to_double(ask(vs.trace(model, x), x), (torch.zeros(2, 1, 3),))
    assert {tensor.dtype for tensor in (*question.present, *fills, question.total)} == {torch.float64}
    TaylorExpansion(question, 2)


def test_refusals():
    x = torch.ones(1, 3).double()
    determinant = Op(lambda z: torch.linalg.det(z[:, :, None] * torch.eye(3).double())[:, None], torch.ones(1).double())
    with pytest.raises(NoRule, match="linalg_det"):
        expanded(vs.trace(determinant, x), (x,), (x,), 2)
    wave = torch.ones(1, 8).double()
    with pytest.raises(NoRule, match="has no rule for: stft"):
        expanded(vs.trace(Op(WITHOUT_A_SERIES["stft"][0], torch.ones(3, 5).double()), wave), (wave,), (wave,), 2)
    with pytest.raises(NotTraceable, match="Taylor series"):
        TaylorExpansion(ask(vs.trace(lambda z: z.sum(1), x), x), 2)
    with pytest.raises(InvalidInput, match="at least 1"):
        TaylorExpansion(ask(together(False), torch.ones(1, 7).double(), target=0), 0)
    root = vs.trace(Op(torch.sqrt, torch.ones(3).double()), x)
    with pytest.raises(InvalidInput, match="not analytic"):
        expanded(root, (torch.zeros_like(x),), (x,), 3)
    table = vs.trace(nn.Sequential(nn.Embedding(5, 2), nn.Flatten()), torch.ones(1, 3, dtype=torch.long))
    with pytest.raises(WrongType, match="no gradient"):
        TaylorExpansion(ask(table, torch.ones(1, 3, dtype=torch.long), target=0), 2)


@pytest.mark.parametrize("name", ["mbconv", "vit", "rotary", "einsum", "mixture", "statistics_pooling"])
def test_architectures_follow_their_series(name):
    """Six coefficients say what the network does a short way from where they were taken, up to the seventh."""
    chosen = specimen(name)
    args, _ = chosen.example(2)
    question, _ = to_double(ask(vs.trace(chosen.build().eval(), *args), args[0] if len(args) == 1 else args, target=0), ())
    starts, rows = list(question.present), torch.arange(2)
    moves = [0.2 * random(*start.shape, seed=1) for start in starts]
    found = TaylorExpansion(question, 5).along(starts, moves, rows).coefficients
    apart = []
    for t in (0.02, 0.01):
        with torch.no_grad():
            exact = question.score([start + t * move for start, move in zip(starts, moves, strict=True)], rows)
        apart.append(float((exact - found @ t ** torch.arange(6).double()).abs().max()))
    assert apart[1] < 1e-9 + apart[0] / 30 and apart[1] < 1e-7
