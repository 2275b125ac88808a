"""What a network says and does beyond the zoo: names, cuts, and a clear word for every wrong question."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor, nn

import vesalius
from tests.zoo import specimen
from tests.zoo.dense import MLP
from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.core.players import Players
from vesalius.trace import Network
from vesalius.trace.serialization import decode_graph, encode_graph


def traced(name: str) -> Network:
    one = specimen(name)
    args, kwargs = one.example(1)
    return vesalius.trace(one.build(), *args, kwargs=kwargs, output=one.output)


@pytest.fixture(scope="module")
def mlp() -> Network:
    return traced("mlp")


@pytest.fixture(scope="module")
def two() -> Network:
    return traced("two_input")


# ---- names ------------------------------------------------------------------------------------------------------------------------------


def test_a_shared_module_has_a_name_per_call_and_each_its_line(mlp: Network):
    names = ["fc1/linear", "relu/relu", "fc2/linear", "relu/relu_1", "fc3/linear", "relu/relu_2", "out/linear"]
    assert [name for name in mlp.values if "/" in name] == names
    source, first = inspect.getsourcelines(MLP.forward)
    line = first + next(place for place, text in enumerate(source) if "self.fc2" in text)
    assert mlp.values["relu/relu_1"].line == f"dense.py:{line}"
    assert mlp.values["relu/relu_1"].module == "relu"


def test_in_place_and_functional_ops_have_plain_names():
    resnet = traced("resnet").values
    assert {"layer1.0/add", "layer1.0.relu/relu", "layer1.0.relu/relu_1", "layer2.0.downsample.1/batch_norm", "flatten"} <= resnet.keys()
    assert {"layer1.0/relu", "layer1.0/add", "layer1.0/relu_1", "layer2.0.shortcut/pad"} <= traced("resnet20").values.keys()
    assert "lstm/lstm.0" in traced("lstm").values


class Same(nn.Module):
    """A module, a function at the top and perhaps an input of one name."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.relu = nn.Linear(4, 3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.relu(self.fc(x)) - 0.5)


class SameAsInput(Same):
    def forward(self, relu: Tensor) -> Tensor:  # type: ignore[override]
        return self.relu(self.fc(relu)) - 0.5


@pytest.mark.parametrize("kind", [Same, SameAsInput])
def test_a_module_is_not_mistaken_for_a_value_of_the_same_name(kind):
    """Saying that the name could mean two things is right, too; a silent other value is not."""
    model, x = kind(), torch.randn(5, 4)
    net = vesalius.trace(model, x)
    try:
        found = net.read(x, "relu")["relu"]
    except InvalidInput as error:
        assert "'relu'" in str(error)
    else:
        torch.testing.assert_close(found, torch.relu(model.fc(x)).detach())


def test_an_unknown_value_offers_near_names(mlp: Network):
    wrong = "fc2/linaer"
    for ask in (lambda: mlp.read(torch.ones(1, 6, 6), wrong), lambda: mlp.split(wrong), lambda: mlp.resolve(wrong)):
        with pytest.raises(UnknownName, match=r"no value or module 'fc2/linaer'; did you mean 'fc2/linear'"):
            ask()


def test_an_unknown_layer_offers_near_names(mlp: Network):
    with pytest.raises(UnknownName, match=r"no layer 'fc4'; did you mean '.*fc3"):
        mlp.layer("fc4")
    with pytest.raises(UnknownName, match=r"no layer 'relu'"):
        mlp.unit_index("relu")


@pytest.mark.parametrize("ends", [(["nothing"], ["out/linear"]), (["x"], ["nothing"])])
def test_a_program_between_unknown_values_is_refused(mlp: Network, ends):
    with pytest.raises(UnknownName, match="'nothing'"):
        mlp.program(*ends)


def test_a_program_that_lacks_an_input_says_which(two: Network):
    with pytest.raises(InvalidInput, match=r"\['head/linear'\] cannot be computed from \['row'\] alone: 'image' is needed too"):
        two.program(["row"], ["head/linear"])


# ---- inputs -----------------------------------------------------------------------------------------------------------------------------

WRONG = [
    ("no batch axis", lambda x, r: (x[0], r), InvalidInput, r"'image' has shape \[3, 8, 8\]; .*add a batch axis with x\[None\]"),
    ("rank too high", lambda x, r: (x, r[None]), InvalidInput, r"'row' has shape \[1, 2, 7\]; the network was traced for \[batch, 7\]"),
    ("event shape", lambda x, r: (x[..., :7], r), InvalidInput, r"'image' has shape \[2, 3, 8, 7\]; .*Trace again with an example"),
    ("dtype", lambda x, r: (x + 1j, r), WrongType, r"'image' has dtype torch.complex64; .*torch.float32"),
    ("not a tensor", lambda x, r: (x, "red"), WrongType, r"expected a tensor, a NumPy array, a DataFrame .*, not str"),
    ("no samples", lambda x, r: (x[:0], r[:0]), InvalidInput, r"'image' holds no samples"),
    ("unequal batches", lambda x, r: (x, r[:1]), InvalidInput, r"same batch size, found \[2, 1\]"),
    ("one missing", lambda x, r: (x,), InvalidInput, r"TwoInput takes 2 inputs \(image, row\); 1 came"),
    ("one too many", lambda x, r: (x, r, r), InvalidInput, r"TwoInput takes 2 inputs \(image, row\); 3 came"),
]


@pytest.mark.parametrize(("make", "kind", "message"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_wrong_inputs(two: Network, as_a_user, make, kind, message):
    given = make(*specimen("two_input").example(2)[0])
    for ask in (lambda: two(*given), lambda: two.bind(given), lambda: two.read(given, "head")):
        with pytest.raises(kind, match=message):
            ask()


def test_wrong_names_of_inputs(two: Network, as_a_user):
    image, row = specimen("two_input").example(2)[0]
    with pytest.raises(UnknownName, match=r"no input 'rows'; did you mean 'row'"):
        two(image, rows=row)
    with pytest.raises(InvalidInput, match=r"takes 2 inputs \(image, row\); 1 came"):
        two.bind({"image": image})
    with pytest.raises(InvalidInput, match="row"):
        two(image, row, row=row)
    with pytest.raises(InvalidInput, match="image"):
        two(image, image=image * 2)
    with pytest.raises(WrongType, match="int"):
        two.bind(3)


def test_calling_and_reading_leave_the_input_alone():
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x -= 0.5
            return self.fc(x)

    model, example = Writes(), torch.ones(2, 4)
    net = vesalius.trace(model, example)
    assert not net.opaque
    assert torch.equal(example, torch.ones(2, 4))
    x = torch.ones(3, 4)
    torch.testing.assert_close(net(x), model(x.clone()).detach())
    assert torch.equal(x, torch.ones(3, 4))


def test_no_gradient_reaches_the_models_parameters():
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh())
    x = torch.randn(2, 4, requires_grad=True)
    vesalius.trace(model, x)(x).sum().backward()
    assert x.grad.abs().sum() > 0
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


# ---- cuts -------------------------------------------------------------------------------------------------------------------------------


def test_a_cut_with_a_skip_around_it_hands_on_the_context():
    net = traced("resnet")
    cut = net.split("layer1.0.bn2")
    assert cut.context == ("maxpool/max_pool2d",)
    x = specimen("resnet").example(2)[0][0]
    inner, skip = cut.front(x)
    torch.testing.assert_close(cut.head(inner, skip), net(x))
    assert not torch.allclose(cut.head(torch.zeros_like(inner), skip), net(x))


def test_a_cut_can_end_at_a_value(mlp: Network):
    x = specimen("mlp").example(3)[0][0]
    cut = mlp.split("relu/relu", output="fc3")
    torch.testing.assert_close(cut.head(*cut.front(x)), mlp.read(x, "fc3")["fc3"])


@pytest.mark.slow
def test_cuts_where_the_batch_is_fused_with_another_axis():
    """After q.view(batch * heads, ...) no axis is the batch; whoever cuts there still gets the model."""

    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attn, self.out = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.attn(x, x, x)[0].mean(1))

    model = Bare().double().eval()
    net, x = vesalius.trace(model, torch.randn(1, 3, 4, dtype=torch.float64)), torch.randn(5, 3, 4, dtype=torch.float64)
    broken = {}
    for name in net.values:
        try:
            cut = net.split(name)
            torch.testing.assert_close(cut.head(*cut.front(x)), model(x).detach())
        except Exception as error:  # all of them are wanted
            broken[name] = repr(error)
    assert broken == {}


def test_units_and_links_are_players():
    net = traced("cnn")
    units = Players.units(net, "conv2")
    assert units.n == net.layer("conv2").units == 10
    links = Players.links(net, "fc2")
    assert links.n == net.layer("fc2").shape[0] * net.layer("fc2").shape[1] == 100


def test_inputs_take_the_dtype_and_the_form_of_the_network(mlp: Network, as_a_user):
    (x,) = specimen("mlp").example(2)[0]
    for given in (x.double(), x.double().numpy(), x.tolist(), {mlp.inputs[0].name: x.numpy()}, (x, torch.tensor([0, 1]))):
        torch.testing.assert_close(mlp.bind(given)[0], x, rtol=0, atol=0)
    torch.testing.assert_close(mlp(x.long()), mlp(x.long().float()), rtol=0, atol=0)


def test_tokens_are_whole_numbers():
    network = vesalius.trace(torch.nn.EmbeddingBag(5, 2), torch.zeros(1, 3, dtype=torch.long))
    assert network.bind(torch.tensor([[1.0, 2.0, 0.0]]))[0].dtype == torch.long
    for wrong in (1.5, float("nan"), float("inf")):
        with pytest.raises(InvalidInput, match="is of whole numbers"):
            network.bind(torch.full((1, 3), wrong))


def test_inputs_without_numbers_are_refused(mlp: Network):
    (x,) = specimen("mlp").example(2)[0]
    with pytest.raises(InvalidInput, match="on the meta device"):
        mlp(x.to("meta"))


def test_what_a_graph_makes_itself_follows_the_device_it_is_loaded_to(tmp_path):
    path = traced("lstm").save(tmp_path / "lstm.safetensors")
    loaded = Network.load(path, device="cpu")
    made = [node for node in loaded.graph("looking").graph.nodes if "device" in node.kwargs]
    assert made
    assert {node.kwargs["device"] for node in made} == {torch.device("cpu")}
    moved = decode_graph(encode_graph(loaded.graph("looking")), loaded.parameters, torch.device("meta"))
    assert {node.kwargs["device"] for node in moved.graph.nodes if "device" in node.kwargs} == {torch.device("meta")}
