"""The context that verbs enter: what it changes inside, and that it is gone outside, however that is left."""

import threading

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import vesalius as vs
from tests.nouns import model, network, rows
from vesalius.core.entry import caller_defaults, out_of_inference, verb, without_history
from vesalius.core.errors import InvalidInput
from vesalius.core.rows import read_rows
from vesalius.sparsity import Finetune, Pruning


@pytest.fixture
def on_meta():
    """A default device that no numbers can be made on, so that whoever makes some there is found out."""
    network()  # with its rows, on the CPU
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


def modes():
    return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"), torch.get_default_device()


NEUTRAL = (True, False, False, torch.device("cpu"))


@verb
def seen_inside(fails=False):
    if fails:
        raise InvalidInput("it fails")
    return modes()


@pytest.mark.parametrize("fails", [False, True])
def test_inside_is_neutral_and_outside_is_as_it_was(on_meta, fails):
    with torch.inference_mode(), torch.autocast("cpu"):
        before = modes()
        try:
            assert seen_inside(fails) == NEUTRAL and not fails
        except InvalidInput:
            assert fails
        assert modes() == before != NEUTRAL


def test_another_thread_keeps_its_modes():
    found = []

    def other():
        with torch.no_grad(), torch.autocast("cpu"):
            found.append((modes(), seen_inside(), modes()))

    with torch.inference_mode():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    before, inside, after = found[0]
    assert inside == NEUTRAL and before == after == (False, False, True, torch.device("cpu"))


def test_the_callers_device_is_known_inside_of_a_verb_in_a_verb(on_meta):
    @verb
    def outer():
        return inner()

    @verb
    def inner():
        with caller_defaults():
            return torch.get_default_device(), torch.empty(1).device

    assert outer() == (torch.device("meta"), torch.device("meta"))


def test_containers_are_looked_into_and_left_alone_where_nothing_changes():
    plain = [torch.ones(1), {"a": (torch.zeros(1), "word")}, 3]
    assert out_of_inference(plain) is plain
    with torch.inference_mode():
        bound = [torch.ones(1), {"a": (torch.zeros(1), "word")}, 3]
    found = out_of_inference(bound)
    assert found[2] == 3 and found[1]["a"][1] == "word"
    assert not found[0].is_inference() and not found[1]["a"][0].is_inference() and bound[0].is_inference()


def test_data_of_a_graph_is_taken_out_of_it():
    asking, computed = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True) * 2
    found = without_history((asking, computed))
    assert not any(part.requires_grad for part in found) and found[0].data_ptr() == asking.data_ptr()
    assert asking.requires_grad and computed.requires_grad


# ---- functions of the caller's --------------------------------------------------------------------------------------------------------


def device_seen(seen, found):
    """A function of the caller's that notes the default device it is called with."""

    def called(*given):
        seen.append(torch.get_default_device().type)
        return found(*given)

    return called


CALLS = {
    "game": lambda f: vs.Game.of(f(lambda masks: masks.double().sum(1)), 3).table(),
    "target": lambda f: vs.attribute(network(), rows()[:2], "occlusion", target=f(lambda output: output[:, 0])),
    "judge": lambda f: vs.sparsity.compare_pruning(
        [model()], rows(), f(lambda pruned, place: {"size": 1.0}), sparsity=[0.5], ways={"one": vs.sparsity.PruningMethod(mode="paper")}
    ),
    "loss of fine-tuning": lambda f: vs.sparsify(
        model(), rows(), sparsity=0.5, pruning=Pruning(rounds=1, finetune=Finetune(loss=f(lambda output, *_: output.square().mean())))
    ),
    "score": lambda f: vs.sparsify(model(), rows(), sparsity=0.5, mode="paper", pruning=Pruning(score=f(lambda seen: seen.weight.abs()))),
}


@pytest.mark.parametrize("what", CALLS)
def test_functions_of_the_caller_run_with_their_default_device(on_meta, what):
    seen = []
    CALLS[what](lambda found: device_seen(seen, found))
    assert seen and set(seen) == {"meta"}


def test_a_function_as_a_model_runs_with_the_callers_default_device(on_meta):
    x = rows()[:3]
    found = vs.trace(lambda given: given.sum(1) * (torch.get_default_device().type == "meta"), x)(x)
    assert torch.equal(found, x.sum(1)) and found.device.type == "cpu"


# ---- loaders --------------------------------------------------------------------------------------------------------------------------


def batches_of_inference_mode():
    with torch.inference_mode():
        return [(rows()[at : at + 50].clone(), torch.zeros(50).long()) for at in range(0, 300, 50)]


def test_a_loader_may_yield_tensors_of_inference_mode():
    given, held = batches_of_inference_mode(), rows().split(50)
    assert given[0][0].is_inference()
    plain, found = (vs.sparsify(model(), iter(data), sparsity=0.5, pruning=Pruning(rounds=1)) for data in (held, given))
    assert torch.equal(plain.network(rows()), found.network(rows()))
    assert not read_rows(given[0][0]).parts[0].is_inference()


@pytest.mark.parametrize("loader", [DataLoader(TensorDataset(rows()), batch_size=100), TensorDataset(rows())], ids=["loader", "data set"])
def test_going_through_data_in_its_order_draws_nothing(loader):
    before = torch.get_rng_state()
    vs.information_flow(network(), loader)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loader_that_shuffles_draws_as_it_does_anywhere():
    def order():
        torch.manual_seed(3)
        return vs.sparsify(
            model(), DataLoader(TensorDataset(rows()), batch_size=100, shuffle=True), sparsity=0.5, pruning=Pruning(rows=100, rounds=1)
        )

    assert torch.equal(order().network(rows()), order().network(rows()))


# ---- networks as modules --------------------------------------------------------------------------------------------------------------


def test_a_network_obeys_the_callers_mode_of_gradients_and_no_autocast():
    x = rows()[:3].clone().requires_grad_()
    with torch.autocast("cpu"):
        assert network()(x).dtype == torch.float32 and network()(x).requires_grad
    with torch.no_grad():
        assert not network()(x).requires_grad
    with torch.inference_mode():
        assert network()(x).is_inference()


def test_a_model_of_inference_mode_has_the_maps_of_an_ordinary_one():
    def made():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2)).eval()

    with torch.inference_mode():
        bound = made()
    assert bound[0].weight.is_inference()
    for method in ("gradient_x_input", "lrp_epsilon", "deep_shap"):
        plain, found = (vs.attribute(each, rows()[:2], method, target=0) for each in (made(), bound))
        assert torch.equal(plain.values, found.values) and not found.values.is_inference()
