"""Scores of links, from their formulas."""

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.reference import pruning
from vesalius.core.errors import UnknownName
from vesalius.models import Autoencoder
from vesalius.sparsity import scores
from vesalius.sparsity.activations import Activation
from vesalius.sparsity.fused_activation import FusedActivation
from vesalius.sparsity.links import links_of
from vesalius.sparsity.pruning.calibration import PruningSamples, make_scorer
from vesalius.sparsity.scores import SCORES, ScoreInputs, compute_scores, score_of


def seen(activation="relu", *, units=4, links=6, rows=30, after=None):
    draws = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(units, links, generator=draws), torch.randn(units, generator=draws)
    x = torch.randn(rows, links, generator=draws) + 1
    x[:, 2] = 3.0
    return ScoreInputs(weight=weight, bias=bias, rows=x, after=after or FusedActivation(activation=Activation(activation)))


SLOPES = {
    "relu": lambda z: float(z > 0),
    "sigmoid": lambda z: float(torch.sigmoid(torch.tensor(z)) * torch.sigmoid(torch.tensor(-z))),
    "tanh": lambda z: float(1 - torch.tanh(torch.tensor(z)) ** 2),
    "identity": lambda z: 1.0,
}


@pytest.mark.parametrize("activation", list(SLOPES))
def test_gate_is_the_mean_slope_times_what_is_carried(activation):
    evidence = seen(activation)
    expected = pruning.gate(evidence.weight, evidence.bias, evidence.rows, SLOPES[activation])
    torch.testing.assert_close(scores.gate(evidence).double(), expected, rtol=1e-3, atol=1e-4)


def test_a_batch_norm_is_part_of_the_unit():
    scale, shift = torch.tensor([2.0, -1.0, 0.5, 3.0]), torch.tensor([0.1, 0.2, -0.3, 0.0])
    normed = seen(after=FusedActivation(activation=Activation("relu"), scale=scale, shift=shift))
    folded = ScoreInputs(
        weight=normed.weight * scale[:, None],
        bias=normed.bias * scale + shift,
        rows=normed.rows,
        after=FusedActivation(activation=Activation("relu")),
    )
    for name in ("gate", "shapley", "shapley_zero"):
        torch.testing.assert_close(SCORES[name].function(normed), SCORES[name].function(folded))


def test_without_an_activation_the_shapley_value_is_the_linear_one():
    evidence = seen("identity")
    for score in (scores.shapley, scores.gate):
        torch.testing.assert_close(score(evidence), scores.linear(evidence), rtol=1e-5, atol=1e-6)


def test_a_link_that_carries_a_constant_is_worth_nothing_to_a_centred_score():
    for name in ("shapley", "gate", "linear"):
        assert not SCORES[name].function(seen())[:, 2].any(), name
    for name in ("shapley_zero", "wanda", "magnitude"):
        assert SCORES[name].function(seen())[:, 2].any(), name


def test_wanda_is_magnitude_times_root_mean_square():
    evidence = seen()
    norms = torch.tensor([(sum(float(row[j]) ** 2 for row in evidence.rows) / len(evidence.rows)) ** 0.5 for j in range(6)])
    torch.testing.assert_close(scores.wanda(evidence), evidence.weight.abs() * norms)


def test_gate_ranks_as_shapley_does():
    evidence = seen(units=16, links=64, rows=500)
    kept = [set(score(evidence).flatten().topk(102).indices.tolist()) for score in (scores.gate, scores.shapley, scores.magnitude)]
    assert len(kept[0] & kept[1]) > 0.93 * 102
    assert len(kept[0] & kept[2]) < 0.8 * 102


def test_random_scores_are_of_their_seed():
    drawn = []
    for seed in (0, 0, 1):
        evidence = seen()
        drawn.append(scores.random(ScoreInputs(**{**vars(evidence), "generator": torch.Generator().manual_seed(seed)})))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_taylor_is_weight_times_the_mean_size_of_its_derivative():
    model, x = Autoencoder([6, 3]), torch.rand(250, 6, generator=torch.Generator().manual_seed(0))
    links = links_of(vs.trace(model, x[:2]))
    total = torch.zeros(3, 6)
    for part in x.split(100):
        model.zero_grad()
        (model(part) - part).square().sum(1).mean().backward()
        total += model.encoder[0].weight.grad.abs()
    one = links["encoder.0"]
    found = make_scorer(SCORES["taylor"], links, PruningSamples((x,)), None, 0)(one, x, one.weight, one.bias)
    torch.testing.assert_close(found, one.weight.abs() * total)


def test_groups_of_a_convolution_read_inputs_of_their_own():
    conv = nn.Conv1d(4, 6, 1, groups=2)
    x = torch.randn(50, 4, 3, generator=torch.Generator().manual_seed(0))
    one = links_of(vs.trace(nn.Sequential(conv, nn.ReLU()), x[:2]))["0"]
    rows = x.movedim(1, 2).reshape(-1, 4)
    found = make_scorer(SCORES["wanda"], {"0": one}, PruningSamples((x,)), None, 0)(one, rows, one.weight, one.bias)
    sizes = rows.square().mean(0).sqrt()
    torch.testing.assert_close(found[:3], one.weight[:3].abs() * sizes[:2])
    torch.testing.assert_close(found[3:], one.weight[3:].abs() * sizes[2:])


def test_a_score_by_name_or_by_itself():
    assert score_of("gate") is SCORES["gate"]
    assert score_of(SCORES["gate"]) is SCORES["gate"]
    own = score_of(lambda evidence: evidence.weight.abs() + 1)
    assert torch.equal(compute_scores(own, seen()), seen().weight.abs() + 1)
    with pytest.raises(UnknownName, match="'gate'"):
        score_of("gates")
