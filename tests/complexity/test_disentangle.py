"""The whole method on features whose complexity is known, and what a run promises."""

import pytest
import torch
from torch import nn

import vesalius as vs
from vesalius.complexity import Training, complexity
from vesalius.core.errors import ForeignFile, InvalidInput, NotTraceable, UnknownName, WrongType

QUICK = Training(epochs=20, batch=64, held_out=0.4, seeds=2, width=16)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def trace_model(model, x, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return vs.trace(model(), x[:2])


class Linear(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))


class LinearConv(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))


class Deep(nn.Sequential):
    """Features of a random net with one nonlinear layer."""

    def __init__(self):
        super().__init__(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 2))


class Parity(nn.Module):
    """A linear map, and the parity of three inputs that no smooth net finds soon."""

    def __init__(self):
        super().__init__()
        self.map, self.out = nn.Linear(16, 8), nn.Linear(8, 2)

    def forward(self, x):
        hard = torch.sign(x[:, :1]) * torch.sign(x[:, 1:2]) * torch.sign(x[:, 2:3])
        return self.out(self.map(x) + 0.15 * hard)


class Noise(nn.Module):
    """Noise that the input knows nothing of: a hash of it."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(4, 2)

    def forward(self, x):
        return self.out(torch.frac(x[:, :4].abs() * 1e5) - 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("model, x", [(Linear, draw(1500, 6)), (LinearConv, draw(400, 2, 6, 6))], ids=["vector", "map"])
def test_a_linear_feature_has_no_other_component(model, x):
    found = complexity(trace_model(model, x), x, at="0", orders=(0, 1, 2), training=QUICK)
    assert found.r2[:, 0].min() > 0.999
    assert found.gain[:, 1:].abs().max() < 1e-3
    assert found.reproducible[1:].abs().max() < 1e-3
    assert found.residual.max() < 1e-3


@pytest.mark.slow
def test_a_random_net_of_one_layer_has_order_one():
    x = draw(5000, 6)
    how = Training(epochs=100, batch=128, held_out=0.3, seeds=2, width=48, patience=20)
    found = complexity(trace_model(Deep, x), x, at="2", orders=(0, 1, 2), training=how)
    assert found.r2[:, 1].min() > 0.99
    assert found.gain[:, 1].min() > 0.05
    assert found.gain[:, 2].abs().max() < 3e-3
    assert found.reproducible[2].abs() < 3e-3


def test_a_hard_part_stays_in_the_rest():
    x = draw(2000, 16)
    found = complexity(trace_model(Parity, x), x, at="add", orders=(0, 1, 2), training=QUICK)
    assert 0.85 < found.r2[:, 0].min() < 0.98
    assert found.rho[:, 1:].max() < 4e-3
    torch.testing.assert_close(found.residual, 1 - found.r2[:, 0], rtol=0, atol=4e-3)


def test_noise_has_no_component_of_any_order():
    x = draw(1500, 8)
    found = complexity(trace_model(Noise, x), x, at="sub", orders=(0, 1, 2), training=QUICK)
    assert found.gain.max() <= 1e-12
    assert not found.kept.any()


@pytest.mark.slow
def test_all_modes_agree_and_the_paper_s_says_what_time_did():
    x = draw(1500, 6)
    network = trace_model(Deep, x)
    how = options(QUICK) | {"epochs": 10}
    runs = {mode: complexity(network, x, at="2", orders=(0, 1, 2), training=Training(**how, mode=mode)) for mode in MODES}
    for mode in MODES[1:]:
        torch.testing.assert_close(runs[mode].r2, runs["shared"].r2, rtol=0, atol=0.05)
    control = runs["paper"].time_matched_gain
    assert control[:, :2].isnan().all()
    assert control[:, 2:].abs().max() < 0.05
    assert runs["separate"].time_matched_gain is None and runs["shared"].time_matched_gain[:, :2].isnan().all()


MODES = ("shared", "separate", "paper")


def options(how):
    return {name: getattr(how, name) for name in ("epochs", "batch", "held_out", "seeds", "width")}


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others():
    x = draw(300, 6)
    network = trace_model(Deep, x)
    how = options(QUICK) | {"epochs": 4}
    one, same = (complexity(network, x, at="2", training=Training(**how)) for _ in range(2))
    other = complexity(network, x, at="2", training=Training(**how, seed=3))
    assert torch.equal(one.moments, same.moments)
    assert not torch.equal(one.moments, other.moments)


def test_the_model_and_the_random_state_are_untouched():
    x = draw(300, 6)
    model = Deep().train()
    network = vs.trace(model, x[:2])
    before, state = {name: value.clone() for name, value in model.state_dict().items()}, torch.random.get_rng_state()
    complexity(network, x, at="2", orders=(0, 1), training=Training(**options(QUICK) | {"epochs": 2}))
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_rows_in_a_file_give_the_same_numbers():
    x = draw(300, 6)
    network, how = trace_model(Deep, x), options(QUICK) | {"epochs": 2}
    one = complexity(network, x, at="2", orders=(0, 1), training=Training(**how))
    mapped = complexity(network, x, at="2", orders=(0, 1), training=Training(**how, limit=100))
    assert torch.equal(one.moments, mapped.moments)
    assert (one.provenance["cost"]["mapped"], mapped.provenance["cost"]["mapped"]) == (False, True)


class Stop(Exception):
    pass


@pytest.mark.parametrize("mode", MODES)
def test_an_interrupted_run_goes_on_where_it_was(tmp_path, mode):
    x = draw(300, 6)
    network, how = trace_model(Deep, x), options(QUICK) | {"epochs": 3, "mode": mode}
    told = []

    def stop(done, total):
        told.append((done, total))
        if done > total / 2:
            raise Stop

    with pytest.raises(Stop):
        complexity(network, x, at="2", orders=(0, 1, 2), training=Training(**how, report=stop, checkpoint=tmp_path / "runs"))
    again = []
    ask = {"at": "2", "orders": (0, 1, 2)}
    resumed = Training(**how, report=lambda *at: again.append(at), checkpoint=tmp_path / "runs")
    found = complexity(network, x, **ask, training=resumed)
    assert told[0][0] == 0
    finished = told[-1][0] // 100 * 100
    assert finished > 0 and all(done % 100 == 0 for done, _ in again if done < finished), "runs that were done are not trained again"
    assert again[-1][0] == again[-1][1]
    assert torch.equal(found.moments, complexity(network, x, **ask, training=Training(**how)).moments)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    x = draw(300, 6)
    network, how = trace_model(Deep, x), options(QUICK) | {"epochs": 1, "checkpoint": tmp_path / "runs"}
    complexity(network, x, at="2", orders=(0, 1), training=Training(**how))
    with pytest.raises(InvalidInput, match="epochs: 1 there, 2 here"):
        complexity(network, x, at="2", orders=(0, 1), training=Training(**how | {"epochs": 2}))
    with pytest.raises(InvalidInput, match="data: "):
        complexity(network, x + 1, at="2", orders=(0, 1), training=Training(**how))
    (tmp_path / "runs").write_text("something else")
    with pytest.raises(ForeignFile):
        complexity(network, x, at="2", orders=(0, 1), training=Training(**how))


def test_tokens_are_embedded_and_said_to_be():
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = nn.Sequential(nn.Embedding(20, 6), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5))
    ids = torch.randint(0, 20, (600, 7), generator=torch.Generator().manual_seed(0))
    network = vs.trace(model, ids[:2])
    found = complexity(network, ids, at="3", orders=(0, 1), training=Training(**options(QUICK)))
    assert found.provenance["input"] == "embedding 0/embedding"
    assert found.provenance["kind"] == "map"
    assert found.gain[:, 1].min() > 0.01


@pytest.mark.parametrize(
    "ask, error, message",
    [
        ({"orders": (1, 0)}, InvalidInput, "each larger than the one before"),
        ({"orders": ()}, InvalidInput, "whole numbers from 0 up"),
        ({"orders": (-1, 2)}, InvalidInput, "at least 0, not -1"),
        ({"at": "relu_7"}, UnknownName, "relu"),
    ],
)
def test_questions_that_have_no_answer(ask, error, message):
    x = draw(100, 6)
    with pytest.raises(error, match=message):
        complexity(trace_model(Deep, x), x, **{"at": "2", **ask}, training=QUICK)


def test_data_and_networks_that_do_not_fit(as_a_user):
    x = draw(100, 6)
    with pytest.raises(WrongType, match="a function or an estimator"):
        complexity("model", x, at="2")
    with pytest.raises(InvalidInput, match="does not vary"):
        complexity(trace_model(Deep, x), x[:1].expand(100, -1).clone(), at="2", training=QUICK)
    with pytest.raises(InvalidInput, match="10 rows"):
        complexity(trace_model(Deep, x), x[:10], at="2", training=QUICK)
    with pytest.raises(InvalidInput, match="shape"):
        complexity(trace_model(Deep, x), draw(100, 7), at="2", training=QUICK)
    opaque = vs.trace(lambda x: torch.from_numpy(x.detach().numpy() * 2), x[:2])
    with pytest.raises(NotTraceable, match="needs the graph"):
        complexity(opaque, x, at="2", training=QUICK)
