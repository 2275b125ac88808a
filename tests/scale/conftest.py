"""A small network, rows with labels, and what it means that two surveys hold the same."""

import pytest
import torch
from torch import nn

import vesalius as vs
from vesalius.scale import SurveyOptions


@pytest.fixture(scope="session")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).eval()


@pytest.fixture(scope="session")
def rows():
    return torch.randn(100, 5, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def labels(rows):
    return (rows[:, 0] > 0).long()


def small(**options):
    """Shards of 16 rows, batches of 8."""
    return SurveyOptions(**{"batch_rows": 8, "shard_rows": 16, **options})


def assert_same_survey(one, other):
    """Every number and every fact, bit for bit; the bytes of files may differ in the order of their headers."""
    assert [(shard.file, shard.rows, shard.data, shard.header) for shard in one.shards] == [
        (shard.file, shard.rows, shard.data, shard.header) for shard in other.shards
    ]
    for mine, theirs in zip(one.parts(), other.parts(), strict=True):
        for name in ("values", "base", "total", "evaluations", "stderr"):
            left, right = getattr(mine, name), getattr(theirs, name)
            assert (left is None and right is None) or torch.equal(left, right), name
        assert mine.provenance == theirs.provenance
    assert isinstance(one, vs.Survey) and one.complete and other.complete
