"""Networks that others have trained: their published accuracy, and what is said when they are not here."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from tests.zoo import cifar
from vesalius.core.errors import ForeignFile, UnknownName
from vesalius.data import MissingData, load
from vesalius.data.download import fetch
from vesalius.data.networks.resnet_squeezenet import IMAGENET_MEAN, IMAGENET_STD
from vesalius.data.pretrained import PHOTOS, PRETRAINED, PretrainedSource, pretrained


def test_resnet20_is_as_good_as_published(data_dir):
    found, data = pretrained("resnet20"), load("cifar10_subset")
    with torch.no_grad():
        right = found.model(data.test_x[:300]).argmax(1) == data.test_y[:300]
    assert float(right.float().mean()) > 0.88 and found.class_names == data.class_names and not found.model.training


def test_resnet20_takes_pictures_as_they_are_and_says_what_the_original_says_of_normalised_ones(data_dir):
    pictures = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    normal = (pictures - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[:, None, None]
    with torch.no_grad():
        torch.testing.assert_close(pretrained("resnet20").model(pictures), cifar.resnet20(data_dir)(normal))


def test_squeezenet_sees_a_ball_on_the_football_pitch(data_dir):
    found = pretrained("squeezenet")
    with Image.open(fetch(PHOTOS["soccer"])) as file:
        square = file.convert("RGB").crop((110, 0, 530, 420)).resize((found.size, found.size))
    picture = torch.from_numpy(np.array(square)).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        best = found.model(picture)[0].topk(5).indices.tolist()
    assert len(found.class_names) == 1000 and {"rugby ball", "football helmet"} < {found.class_names[place] for place in best}


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_missing_network_says_where_it_was_looked_for(name, monkeypatch, tmp_path):
    monkeypatch.delenv("VESALIUS_DATA", raising=False)
    with pytest.raises(MissingData, match=rf"looked for {re.escape(str(tmp_path))}.*VESALIUS_DATA is not set"):
        pretrained(name, cache=tmp_path)


def test_weights_of_another_network_are_refused(monkeypatch, data_dir):
    mixed = PretrainedSource(
        factory=PRETRAINED["squeezenet"].factory, weights=PRETRAINED["resnet20"].weights, classes=PRETRAINED["resnet20"].classes, size=32
    )
    monkeypatch.setitem(PRETRAINED, "mixed", mixed)
    with pytest.raises(ForeignFile, match="does not hold the weights of mixed"):
        pretrained("mixed")


def test_an_unknown_network_is_refused_and_the_random_state_is_left_alone(data_dir):
    before = torch.get_rng_state()
    pretrained("resnet20")
    assert torch.equal(before, torch.get_rng_state())
    with pytest.raises(UnknownName, match="resnet20"):
        pretrained("resnet")
