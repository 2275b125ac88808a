"""Information flow of language models: units are read at one position of the text, and the output there is of as many units as tokens."""

import pytest
import torch
from torch import nn

import vesalius as vs
from vesalius.core.errors import InvalidInput
from vesalius.information import AblationOptions, MeasurementOptions, ablation_curves
from vesalius.information.recorded_activations import record_activations
from vesalius.information.units import find_layer_units

TOKENS, POSITIONS, ROWS = 6, 4, 600


class Copying(nn.Module):
    """Says at each position the token before it: the hidden units see that token alone."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding.from_pretrained(torch.eye(TOKENS) * 3)
        self.hidden, self.head = nn.Linear(TOKENS, 8), nn.Linear(8, TOKENS)

    def forward(self, ids):
        x = self.table(ids)
        before = torch.cat([x[:, :1], x[:, :-1]], 1)
        return self.head(torch.relu(self.hidden(before)))


@pytest.fixture(scope="module")
def case():
    torch.manual_seed(0)
    model = Copying().eval()
    ids = torch.randint(0, TOKENS, (ROWS, POSITIONS), generator=torch.Generator().manual_seed(1))
    return model, ids, vs.trace(model, ids[:2])


@pytest.mark.parametrize("position", [-1, 1, None])
def test_units_are_those_of_one_position(case, position):
    model, ids, network = case
    sites = find_layer_units(network, ["hidden", "output"], "post_activation", None, position)
    found = record_activations(network, ids, None, sites, MeasurementOptions())
    with torch.no_grad():
        hidden = torch.relu(model.hidden(model.table(ids[:, {-1: -2, 1: 0, None: -2}[position]])))
        wanted = hidden, model.head(hidden)
    assert [site.units for site in sites] == [8, TOKENS]
    for ours, theirs in zip(found.units, wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_flow_of_a_language_model_ends_in_its_tokens(case):
    model, ids, _ = case
    flow = vs.information_flow(model, ids, classes=list("abcdef"))
    assert flow.layers[-1].units == tuple("abcdef") and flow.provenance["options"]["position"] == -1
    flow = vs.information_flow(model, ids, measuring=MeasurementOptions(position=2))
    assert flow.provenance["options"]["position"] == 2


def test_what_is_removed_is_judged_by_the_token_at_that_position(case):
    model, ids, network = case
    flow = vs.information_flow(network, ids)
    with torch.no_grad():
        labels = model(ids)[:, -1].argmax(1)
    curves = ablation_curves(network, flow, ids, labels, layer="hidden", removing=AblationOptions(steps=3))
    assert all(float(curve[:, 0].min()) == 1 and float(curve[:, -1].max()) < 0.6 for curve in curves.accuracy.values())


def test_a_position_that_is_not_there_is_refused(case):
    model, ids, _ = case
    with pytest.raises(InvalidInput, match="no position 4 in a text of 4"):
        vs.information_flow(model, ids, measuring=MeasurementOptions(position=4))
    with pytest.raises(InvalidInput, match="is of a text, and Sequential does not go from ids"):
        vs.information_flow(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), torch.randn(50, 3), measuring=MeasurementOptions(position=0))


class Masked(Copying):
    """The same, of texts of unlike length."""

    def forward(self, input_ids, attention_mask):
        return super().forward(input_ids) * attention_mask[..., None]


@pytest.fixture(scope="module")
def padded():
    """Texts of one to four tokens, padded on either side, and the network of them."""
    torch.manual_seed(0)
    ids = torch.randint(0, TOKENS, (200, POSITIONS), generator=torch.Generator().manual_seed(2))
    lengths = torch.randint(2, POSITIONS + 1, (200,), generator=torch.Generator().manual_seed(3))
    places = torch.arange(POSITIONS)
    right = places < lengths[:, None]
    mask = torch.where((torch.arange(200) % 2 == 0)[:, None], right, right.flip(1)).long()
    model = Masked().eval()
    return model, {"input_ids": ids, "attention_mask": mask}, vs.trace(model, {"input_ids": ids[:2], "attention_mask": mask[:2]})


@pytest.mark.parametrize("position", [-1, 0, -2, 1])
def test_units_of_padded_texts_are_read_where_the_text_is(padded, position):
    model, rows, network = padded
    sites = find_layer_units(network, ["hidden", "output"], "post_activation", None, position)
    found = record_activations(network, rows, None, sites, MeasurementOptions(position=position))
    ids, mask = rows["input_ids"], rows["attention_mask"]
    for row in range(0, 200, 7):
        place = mask[row].nonzero().flatten()[position]
        with torch.no_grad():
            wanted = model(ids[row : row + 1], mask[row : row + 1])[0, place]
        torch.testing.assert_close(found.units[1][row], wanted)


def test_a_position_that_some_padded_texts_lack_is_refused(padded):
    model, rows, _ = padded
    with pytest.raises(InvalidInput, match="no position 3 in a text of 2, the shortest without its padding"):
        vs.information_flow(model, rows, measuring=MeasurementOptions(position=3))
    alone = {**rows, "attention_mask": rows["attention_mask"] * (torch.arange(200) != 5)[:, None]}
    with pytest.raises(InvalidInput, match="text 5 of a batch is padding alone"):
        vs.information_flow(model, alone)


class Averaging(Masked):
    """A classifier of texts: the mean of what their tokens say."""

    def forward(self, input_ids, attention_mask):
        kept = attention_mask[..., None].float()
        return (super().forward(input_ids, attention_mask) * kept).sum(1) / kept.sum(1)


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_padding_of_a_classifier_is_not_pooled(padded, pool):
    _, rows, _ = padded
    model = Averaging().eval()
    network = vs.trace(model, {name: tensor[:2] for name, tensor in rows.items()})
    sites = find_layer_units(network, ["hidden", "output"], "post_activation")
    found = record_activations(network, rows, None, sites, MeasurementOptions(pool=pool))
    table = model.table(rows["input_ids"])
    with torch.no_grad():
        hidden = torch.relu(model.hidden(torch.cat([table[:, :1], table[:, :-1]], 1)))
    for row in range(0, 200, 7):
        text = hidden[row][rows["attention_mask"][row].bool()]
        torch.testing.assert_close(found.units[0][row], text.amax(0) if pool == "max" else text.mean(0))
