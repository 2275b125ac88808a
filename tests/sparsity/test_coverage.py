"""What was never looked at is named, with its share of the weights."""

import pytest
import torch
from torch import nn

import vesalius as vs
from vesalius.sparsity import LinkImportance, Pruning, Sparsified, link_importance, sparsify


class Tagger(nn.Module):
    """Words by number, through recurrent layers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words, self.read, self.out = nn.Embedding(9, 6), nn.LSTM(6, 32, batch_first=True), nn.Linear(32, 6)

    def forward(self, x):
        return self.out(self.read(self.words(x))[0])


IDS = torch.randint(0, 9, (64, 5), generator=torch.Generator().manual_seed(0))


def test_shares_and_reasons_are_those_of_the_model():
    model = Tagger().eval()
    thin = sparsify(model, IDS, sparsity=0.5)
    total = sum(parameter.numel() for parameter in model.parameters() if parameter.ndim > 1)
    covered = thin.coverage
    assert covered.total == total and covered.looked_at == thin.links
    assert covered.looked_at + sum(size for size, _ in covered.left.values()) == total
    assert covered.left["words.weight"] == (54, "a table whose rows are looked up")
    assert f"the links looked at are {100 * covered.looked_at / total:.3g} % of the {total:,} weights" in repr(thin)
    assert "left alone: words.weight (54 weights): a table whose rows are looked up" in repr(thin)


def test_a_summary_a_page_and_a_file_say_so_too(tmp_path):
    found = link_importance(Tagger().eval(), IDS, layers=["out"])
    again = LinkImportance.load(found.save(tmp_path / "importance.safetensors"))
    thin = sparsify(Tagger().eval(), IDS, sparsity=0.5)
    loaded = Sparsified.load(thin.save(tmp_path / "thin.safetensors"))
    for said in (found.summary(), again.summary(), found._repr_html_(), thin._repr_html_(), repr(loaded)):
        assert "words.weight (54 weights): a table whose rows are looked up" in said


def test_layers_that_were_not_asked_for_and_weights_that_are_computed():
    plain = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)).eval()
    x = torch.randn(40, 6)
    thin = sparsify(plain, x, sparsity=0.5, pruning=Pruning(layers=["0"]))
    assert thin.coverage.left == {"2.weight": (20, "of a layer that was not asked for")}
    assert not sparsify(plain, x, sparsity=0.5).coverage.left and "left alone" not in repr(sparsify(plain, x, sparsity=0.5))

    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.w, self.v = nn.Linear(6, 5), nn.Parameter(torch.randn(4, 5)), nn.Parameter(torch.randn(4, 5))

        def forward(self, x):
            return torch.relu(self.a(x)) @ (self.w * self.v.exp()).T

    left = sparsify(Gated().eval(), x, sparsity=0.5).coverage.left
    assert {name: (size, reason[:33]) for name, (size, reason) in left.items()} == dict.fromkeys(
        ("w", "v"), (20, "part of a weight that is computed")
    )


@pytest.mark.parametrize("tied", [False, True])
def test_a_tied_weight_counts_once(tied):
    model = vs.models.Autoencoder([6, 3], tied=tied)
    thin = sparsify(model, torch.rand(40, 6), sparsity=0.5)
    assert not thin.coverage.left and thin.coverage.total == (18 if tied else 36)
