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


def test_texts_with_padding_where_units_are_read_are_refused():
    torch.manual_seed(0)
    ids = torch.randint(0, TOKENS, (100, POSITIONS))
    mask = torch.ones_like(ids)
    mask[3, -1] = 0
    rows = {"input_ids": ids, "attention_mask": mask}
    with pytest.raises(InvalidInput, match="padding at position -1"):
        vs.information_flow(Masked().eval(), rows)
    read = vs.information_flow(Masked().eval(), rows, measuring=MeasurementOptions(position=1))
    assert len(read.layers[-1].units) == TOKENS
