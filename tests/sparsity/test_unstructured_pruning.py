"""Networks with the links they need."""

import copy
from functools import cache

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import vesalius as vs
from tests.reference import pruning
from tests.zoo.dense import Branching, TiedAutoencoder
from tests.zoo.huggingface import bert, padded
from vesalius.core.errors import InvalidInput, NotTraceable, UnknownName, WrongType
from vesalius.data.models import trained
from vesalius.models import Autoencoder
from vesalius.sparsity.pruning_options import Finetune, Pruning
from vesalius.sparsity.scores import SCORES
from vesalius.sparsity.unstructured_pruning import sparsify, sweep


def rows(count=300, width=12):
    """Correlated rows in [0, 1], the last column constant."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.randn(count, 4, generator=generator) @ torch.randn(4, width, generator=generator)).sigmoid()
    x[:, -1] = 0.7
    return x


def autoencoder(tied=False):
    """With biases that are not 0."""
    model = Autoencoder([12, 8, 4], tied=tied)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data = torch.linspace(-0.1, 0.2, len(parameter))
    return model


@cache
def network():
    """Traced once: that takes longer than pruning it."""
    return vs.trace(autoencoder(), rows()[:2])


def error(model, dense, x):
    with torch.no_grad():
        return float((model(x) - dense(x)).square().mean())


@pytest.mark.parametrize("mode", ["paper", "refit"])
def test_the_users_model_is_left_alone(mode):
    model = autoencoder().train()
    before = copy.deepcopy(model.state_dict())
    thin = sparsify(model, rows(), sparsity=0.6, mode=mode)
    assert model.training
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not torch.equal(thin.model(rows()), model(rows()))


@pytest.mark.parametrize("mode", ["paper", "refit"])
@pytest.mark.parametrize("tied", [False, True])
def test_masks_are_those_that_pytorch_knows(mode, tied):
    thin = sparsify(autoencoder(tied), rows(), sparsity=0.6, mode=mode)
    assert prune.is_pruned(thin.model)
    assert torch.equal(thin.model.encoder[0].weight_mask.bool(), next(iter(thin.masks.values())))
    torch.testing.assert_close(thin.model(rows()), thin.network(rows()))
    for module in thin.model.modules():
        if hasattr(module, "weight_mask"):
            prune.remove(module, "weight")
    torch.testing.assert_close(thin.model(rows()), thin.network(rows()))


@pytest.mark.parametrize("mode", ["paper", "refit"])
@pytest.mark.parametrize("scope", ["layer", "row", "global"])
def test_sparsity_is_counted_from_the_masks(mode, scope):
    thin = sparsify(network(), rows(), sparsity=0.5, mode=mode, pruning=Pruning(scope=scope))
    masks = [module.weight_mask for module in thin.model.modules() if hasattr(module, "weight_mask")]
    assert thin.sparsity == 1 - sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)
    assert thin.sparsity == pytest.approx(0.5, abs=0.03)
    assert thin.sparsities == {name: 1 - float(mask.double().mean()) for name, mask in thin.masks.items()}
    if scope == "row":
        assert all(len(set(mask.sum(1).tolist())) == 1 for mask in thin.masks.values())


def test_paper_mode_is_the_formula():
    """Prefix of the sorted importance per layer, W <- M W, and what was cut goes into the bias at its mean."""
    model, x = autoencoder(), rows()
    thin = sparsify(model, x, importance_level=0.8, mode="paper", pruning=Pruning(score="linear"))
    weight, bias = model.encoder[0].weight.detach(), model.encoder[0].bias.detach()
    scores = (weight.abs() * (x - x.mean(0)).abs().mean(0)).flatten()
    count = pruning.shortest_prefix(scores.tolist(), 0.8)
    mask = torch.tensor(pruning.top_mask(scores.tolist(), count)).reshape(weight.shape)
    assert torch.equal(thin.masks["encoder.0"], mask)
    torch.testing.assert_close(thin.importance["encoder.0"].flatten(), scores)
    torch.testing.assert_close(thin.model.encoder[0].weight.detach(), weight * mask)
    torch.testing.assert_close(thin.model.encoder[0].bias.detach(), bias + (weight * ~mask) @ x.mean(0))


def test_refit_mode_is_its_slow_twin():
    model, x = autoencoder(), rows(40)
    how = Pruning(score="gate", rounds=3, ridge=0.05)
    thin = sparsify(model.double(), x.double(), sparsity=0.6, pruning=how)
    layers, names = [], ["encoder.0", "encoder.2", "decoder.0", "decoder.2"]
    for name, activation in zip(names, [torch.relu, torch.relu, torch.relu, torch.sigmoid], strict=True):
        layer = model.get_submodule(name)
        layers.append((layer.weight.detach(), layer.bias.detach(), activation, int(thin.masks[name].sum())))
    slopes = {torch.relu: lambda z: float(z > 0), torch.sigmoid: lambda z: float(torch.tensor(z).sigmoid() * torch.tensor(-z).sigmoid())}
    at = iter(sorted(range(len(layers) * how.rounds), key=lambda step: step))
    made = pruning.refit_net(
        layers, x, how.rounds, how.ridge, lambda w, b, seen: pruning.gate(w, b, seen, slopes[layers[next(at) // how.rounds][2]])
    )
    for name, (weight, bias, kept) in zip(names, made, strict=True):
        assert torch.equal(thin.masks[name], kept), name
        torch.testing.assert_close(thin.model.get_submodule(name).weight.detach(), weight, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(thin.model.get_submodule(name).bias.detach(), bias, rtol=1e-5, atol=1e-7)


def test_refitting_is_nearer_than_a_mask_with_compensation_and_that_than_without():
    model, x = autoencoder(), rows()
    refit = sparsify(model, x, sparsity=0.6, pruning=Pruning(allocation="uniform"))
    paper = sparsify(model, x, sparsity=0.6, mode="paper")
    with pytest.warns(UserWarning, match="act as a bias"):
        plain = sparsify(model, x, sparsity=0.6, mode="paper", pruning=Pruning(compensate=False))
    assert error(refit.model, model, x) < 0.6 * error(paper.model, model, x)
    assert error(paper.model, model, x) < error(plain.model, model, x)


def test_a_constant_input_is_cut_and_goes_into_the_bias():
    model, x = nn.Sequential(nn.Linear(12, 5), nn.ReLU()), rows()
    thin = sparsify(model, x, importance_level=1.0, mode="paper")
    assert not thin.masks["0"][:, -1].any()
    torch.testing.assert_close(thin.model(x), model(x))


@pytest.mark.parametrize("name", list(SCORES))
def test_every_score_prunes(name):
    thin = sparsify(network(), rows(), sparsity=0.5, pruning=Pruning(score=name, rounds=2))
    assert thin.sparsity == pytest.approx(0.5, abs=0.01)
    assert thin.provenance["score"] == name


def test_ones_own_score():
    thin = sparsify(network(), rows(), sparsity=0.5, mode="paper", pruning=Pruning(score=lambda seen: -seen.weight.abs()))
    kept = thin.masks["encoder.0"]
    assert thin.dense.parameters["encoder.0.weight"][kept].abs().max() <= thin.dense.parameters["encoder.0.weight"][~kept].abs().min()


def test_layers_have_amounts_of_their_own():
    thin = sparsify(network(), rows(), sparsity={"encoder.0": 0.75, "decoder.2": 0.25})
    assert thin.sparsities == {"encoder.0": 0.75, "decoder.2": 0.25}
    only = sparsify(network(), rows(), sparsity=0.5, pruning=Pruning(layers=["encoder.2"]))
    assert list(only.masks) == ["encoder.2"]
    level = sparsify(network(), rows(), importance_level={"encoder.0": 0.5, "encoder.2": 1.0}, mode="paper")
    assert level.sparsities["encoder.0"] > 0.5 > level.sparsities["encoder.2"]


@pytest.mark.parametrize("mode", ["paper", "refit"])
def test_a_sweep_is_the_same_as_one_by_one(mode):
    levels = (0.3, 0.6)
    for level, thin in zip(levels, sweep(network(), rows(), sparsity=levels, mode=mode, pruning=Pruning(rounds=3)), strict=True):
        alone = sparsify(network(), rows(), sparsity=level, mode=mode, pruning=Pruning(rounds=3))
        assert torch.equal(thin.model(rows()), alone.model(rows()))


def test_a_sweep_looks_at_the_dense_network_once():
    calls = []

    def counted(seen):
        calls.append(1)
        return seen.weight.abs()

    sweep(network(), rows(), importance_level=(0.2, 0.5, 0.8), mode="paper", pruning=Pruning(score=counted))
    assert len(calls) == 4


def test_fine_tuning_gets_nearer_and_keeps_the_mask():
    model, x, told = autoencoder(), rows(), []
    how = Finetune(epochs=30, rate=1e-2, batch=64, report=lambda done, of: told.append((done, of)))
    before = sparsify(model, x, sparsity=0.7, mode="paper")
    after = sparsify(model, x, sparsity=0.7, mode="paper", pruning=Pruning(finetune=how))
    assert error(after.model, model, x) < 0.7 * error(before.model, model, x)
    assert all(torch.equal(mask, after.masks[name]) for name, mask in before.masks.items())
    assert not after.network.parameters["encoder.0.weight"][~after.masks["encoder.0"]].any()
    assert told[-1] == (30, 30)


def test_fine_tuning_on_batches_by_ones_own_loss():
    x = rows()
    how = Finetune(epochs=20, rate=1e-2, loss=lambda output, seen: (output - seen).square().mean())
    batched = [(part, torch.zeros(len(part), dtype=torch.int64)) for part in x.split(50)]
    before, after = (sparsify(network(), batched, sparsity=0.5, pruning=Pruning(finetune=kind)) for kind in (None, how))
    assert error(after.model, lambda seen: seen, x) < error(before.model, lambda seen: seen, x)


def test_batches_give_what_tensors_give():
    x = rows()
    batched = sparsify(network(), list(x.split(70)), sparsity=0.5)
    torch.testing.assert_close(batched.model(x), sparsify(network(), x, sparsity=0.5).model(x))


def test_tensors_by_name_give_what_tensors_give():
    """In rows drawn at random, and with as many steps of fine-tuning as there are batches of rows, not as there are names."""
    traced = network()
    named = {traced.inputs[0].name: rows()}
    how = Pruning(rows=100, finetune=Finetune(epochs=2, batch=32))
    by_name, plain = (sparsify(traced, data, sparsity=0.5, pruning=how) for data in (named, rows()))
    torch.testing.assert_close(by_name.model(rows()), plain.model(rows()))


# ---- other networks ------------------------------------------------------------------------------------------------------------------


class Residual(nn.Module):
    """A block with a bypass, layers fed by sums, one layer without a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(12, 12), nn.Linear(12, 12, bias=False), nn.Linear(24, 3)

    def forward(self, x):
        h = torch.relu(self.first(x)) + x
        return self.third(torch.cat([torch.tanh(self.second(h)), h], 1))


def test_layers_may_be_fed_by_anything():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Residual()
    thin = sparsify(model, rows(), sparsity=0.5)
    once = sparsify(model, rows(), sparsity=0.5, mode="paper", pruning=Pruning(score="magnitude", allocation="erk"))
    assert error(thin.model, model, rows()) < 0.5 * error(once.model, model, rows())
    with pytest.warns(UserWarning, match="no bias to compensate in: second"):
        sparsify(model, rows(), sparsity=0.5, mode="paper")


def test_a_tied_weight_is_cut_once_and_both_biases_follow():
    model = TiedAutoencoder()
    x = rows()
    thin = sparsify(model, x, sparsity=0.5)
    assert len(thin.masks) == 1
    assert thin.links == model.encoder.weight.numel()
    torch.testing.assert_close(thin.network(x), thin.model(x))
    torch.testing.assert_close(thin.model(x).mean(0), model(x).mean(0), rtol=0.05, atol=0.02)


def test_a_convolutional_classifier_keeps_its_accuracy():
    net = trained("digits_cnn")
    x, y = net.data.test_x, net.data.test_y
    thin = sparsify(net.model, net.data.train_x, sparsity=0.8, pruning=Pruning(rounds=3, rows=2000))
    once = sparsify(net.model, net.data.train_x, sparsity=0.8, mode="paper", pruning=Pruning(score="magnitude", rows=2000))
    right, left = (float((one.model(x).argmax(1) == y).double().mean()) for one in (thin, once))
    assert set(thin.masks) == {"conv1", "conv2", "fc1", "fc2"}
    assert right > net.accuracy - 0.02
    assert right > left


def test_the_feed_forward_layers_of_a_transformer():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = bert().eval()
    ids = padded(60, torch.Generator().manual_seed(0))
    network = vs.trace(model, ids, output="logits")
    names = [name for name in network.layers if "intermediate.dense" in name or (".output.dense" in name and "attention" not in name)]
    thin = sparsify(network, ids, sparsity=0.5, pruning=Pruning(layers=names, rounds=3))
    assert len(thin.masks) == 4
    torch.testing.assert_close(thin.model(ids).logits, thin.network(ids))
    once = sparsify(network, ids, sparsity=0.5, mode="paper", pruning=Pruning(layers=names, score="magnitude"))
    assert error(thin.network, network, ids) < error(once.network, network, ids)


# ---- what cannot be done -------------------------------------------------------------------------------------------------------------

CASES = [
    ({}, InvalidInput, "neither came"),
    ({"sparsity": 0.5, "importance_level": 0.5}, InvalidInput, "both came"),
    ({"sparsity": 1.0}, InvalidInput, "sparsity is a number of at least 0 and below 1, not 1.0"),
    ({"sparsity": -0.1}, InvalidInput, "below 1"),
    ({"importance_level": 0.0}, InvalidInput, "importance_level is a number above 0 and of at most 1, not 0.0"),
    ({"importance_level": 1.5}, InvalidInput, "of at most 1"),
    ({"sparsity": {"encoder.0": 2.0}}, InvalidInput, "of layer 'encoder.0'"),
    ({"sparsity": {}}, InvalidInput, "names no layer"),
    ({"sparsity": {"encoder.9": 0.5}}, UnknownName, "encoder.0"),
    ({"sparsity": 0.5, "mode": "papr"}, UnknownName, "paper"),
    ({"sparsity": 0.5, "pruning": Pruning(layers=["encodr.0"])}, UnknownName, "encoder.0"),
    ({"sparsity": 0.5, "pruning": Pruning(compensate=False)}, InvalidInput, "sets the biases anew"),
    ({"sparsity": {"encoder.0": 0.5}, "pruning": Pruning(layers=["encoder.0"])}, InvalidInput, "give one"),
    ({"sparsity": {"encoder.0": 0.5}, "pruning": Pruning(scope="global")}, InvalidInput, "give one"),
    ({"sparsity": {"encoder.0": 0.5}, "pruning": Pruning(allocation="erk")}, InvalidInput, "does so itself"),
    ({"importance_level": 0.5, "pruning": Pruning(allocation="erk")}, InvalidInput, "does so itself"),
    ({"importance_level": 0.5, "pruning": Pruning(score=lambda seen: seen.weight)}, InvalidInput, "negative"),
    ({"sparsity": 0.5, "pruning": Pruning(score=lambda seen: seen.weight[0])}, InvalidInput, "one number per weight"),
    ({"sparsity": 0.5, "pruning": Pruning(score=lambda seen: 1.0)}, WrongType, "float"),
    ({"sparsity": 0.5, "pruning": Pruning(score=lambda seen: seen.weight * torch.nan)}, InvalidInput, "NaN"),
    ({"sparsity": 0.5, "pruning": Pruning(finetune=Finetune(rate=1e30, epochs=3))}, InvalidInput, "diverged"),
]


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize(("asked", "kind", "words"), CASES)
def test_wrong_questions(asked, kind, words):
    with pytest.raises(kind, match=words):
        sparsify(network(), rows(), **asked)


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"score": "magnitud"}, UnknownName, "magnitude"),
        ({"score": 3}, WrongType, "int"),
        ({"scope": "unit"}, UnknownName, "row"),
        ({"allocation": "erc"}, UnknownName, "erk"),
        ({"scope": "global", "allocation": "erk"}, InvalidInput, "give one"),
        ({"rounds": 0}, InvalidInput, "rounds"),
        ({"ridge": 0.0}, InvalidInput, "ridge"),
        ({"rows": 1}, InvalidInput, "rows"),
    ],
)
@pytest.mark.usefixtures("as_a_user")
def test_wrong_options(options, kind, words):
    with pytest.raises(kind, match=words):
        Pruning(**options)


def spoilt(x):
    x = x.clone()
    x[3, 4] = torch.nan
    return x


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize(
    ("model", "data", "kind", "words"),
    [
        (autoencoder(), rows()[:8], InvalidInput, "at least 16"),
        (autoencoder(), rows()[:1], InvalidInput, "one sample"),
        (autoencoder(), rows()[:0], InvalidInput, "at least one sample"),
        (autoencoder(), [], InvalidInput, "no rows"),
        (autoencoder(), spoilt(rows()), InvalidInput, "NaN"),
        ("model", rows(), WrongType, "a torch.nn.Module, a function or an estimator"),
        (lambda x: x, rows(), NotTraceable, "pruning"),
        (Branching(12), rows(), NotTraceable, "pruning"),
    ],
)
def test_networks_and_data_that_cannot_be_used(model, data, kind, words):
    with pytest.raises(kind, match=words):
        sparsify(model, data, sparsity=0.5)


def test_a_classifier_has_no_loss_of_its_own():
    model = nn.Sequential(nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3))
    with pytest.raises(InvalidInput, match="no autoencoder"):
        sparsify(model, rows(), sparsity=0.5, pruning=Pruning(score="taylor"))
    how = Pruning(score="taylor", loss=lambda output, x: output.logsumexp(1).mean())
    assert sparsify(model, rows(), sparsity=0.5, pruning=how).sparsity == pytest.approx(0.5, abs=0.02)


def test_a_network_from_a_file_has_no_model_to_mask(tmp_path):
    kept = vs.Network.load(vs.trace(autoencoder(), rows()[:2]).save(tmp_path / "net.safetensors"))
    with pytest.raises(InvalidInput, match="no model to mask"):
        sparsify(kept, rows(), sparsity=0.5)


def test_it_tells_what_it_is():
    thin = sparsify(network(), rows(), sparsity=0.5)
    assert "50.0% pruned" in repr(thin) and "encoder.0" in repr(thin)
    assert thin.mask("encoder.0") is thin.masks["encoder.0"]
    with pytest.raises(UnknownName, match="did you mean"):
        thin.mask("encodr.0")
