"""The family: layouts there and back, linear features by loops, deeper nets that start as the shallower one."""

import pytest
import torch

from tests.reference import ridge as slow
from vesalius.complexity.networks import RowShapes, Trunk, fit_standardisation

SHAPES = {
    "vector": RowShapes(x=(7,), f=(5,)),
    "image to map": RowShapes(x=(3, 16, 16), f=(6, 4, 4)),
    "image to image": RowShapes(x=(2, 8, 8), f=(4, 8, 8)),
    "uneven": RowShapes(x=(2, 15, 13), f=(4, 4, 3)),
    "larger map": RowShapes(x=(2, 4, 4), f=(3, 8, 8)),
    "image to vector": RowShapes(x=(1, 8, 8), f=(9,)),
    "image to one cell": RowShapes(x=(1, 8, 8), f=(9, 1, 1)),
    "tokens": RowShapes(x=(10, 4), f=(10, 6), axis=1),
    "channels first": RowShapes(x=(4, 16), f=(6, 8), axis=0),
    "image with channels last": RowShapes(x=(3, 16, 16), f=(4, 4, 6), axis=2),
    "channels last throughout": RowShapes(x=(16, 16, 3), f=(4, 4, 6), axis=2, source_axis=2),
    "tokens to channels first": RowShapes(x=(16, 4), f=(6, 8), axis=0, source_axis=1),
    "tokens to vector": RowShapes(x=(10, 4), f=(6,)),
    "vector to map": RowShapes(x=(7,), f=(2, 3, 3)),
    "volumes": RowShapes(x=(1, 4, 4, 4), f=(2, 2, 2, 2)),
}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build_trunk(shape, blocks=3, seed=0):
    trunk = Trunk(shape, 8, blocks, generator=torch.Generator().manual_seed(seed))
    fit_standardisation(trunk, [draw(40, *shape.x) * 3 + 1])
    return trunk.eval()


@pytest.mark.parametrize("name", SHAPES)
def test_units_and_linear_features_are_by_position(name):
    shape = SHAPES[name]
    trunk, x = build_trunk(shape), draw(3, *shape.x)
    ready = trunk.standardise_input(x)
    columns = trunk.linear(ready)
    assert columns.shape[:2] == (3, shape.positions)
    assert [tuple(units.shape) for units in trunk(ready)] == [(3, shape.positions, trunk.read)] * 3
    weight = draw(columns.shape[-1], shape.channels)
    torch.testing.assert_close(trunk.project(ready, weight), columns @ weight, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", SHAPES)
def test_rows_of_a_feature_come_back(name):
    shape = SHAPES[name]
    f = draw(3, *shape.f)
    rows = shape.rows(f)
    assert rows.shape == (3, shape.positions, shape.channels)
    assert torch.equal(shape.restore(rows), f)


@pytest.mark.parametrize(
    ("name", "axis", "source_axis"),
    [("image with channels last", 2, 0), ("channels last throughout", 2, 2), ("tokens to channels first", 0, 1)],
)
def test_rows_do_not_depend_on_the_layout_of_the_memory(name, axis, source_axis):
    """The same numbers with channels first in both: the same kind of net, the same rows."""
    shape = SHAPES[name]
    x, f = draw(3, *shape.x), draw(3, *shape.f, seed=1)
    moved_x, moved_f = x.movedim(1 + source_axis, 1), f.movedim(1 + axis, 1)
    first = RowShapes(x=tuple(moved_x.shape[1:]), f=tuple(moved_f.shape[1:]), axis=0)
    facts = ("kind", "channels", "entering", "sides", "grid", "strides", "positions")
    assert [getattr(shape, fact) for fact in facts] == [getattr(first, fact) for fact in facts]
    assert torch.equal(shape.rows(f), first.rows(moved_f)) and torch.equal(shape.inputs(x), first.inputs(moved_x))


def test_kinds():
    kinds = {name: shape.kind for name, shape in SHAPES.items()}
    assert {name for name, kind in kinds.items() if kind == "pooled"} == {"image to vector", "image to one cell", "tokens to vector"}
    assert {name for name, kind in kinds.items() if kind == "vector"} == {"vector", "vector to map", "volumes"}


def test_linear_features_of_a_map_are_patches_with_their_neighbours():
    trunk, x = build_trunk(SHAPES["image to map"]), draw(1, 3, 16, 16)
    assert trunk.patch == (12, 12)
    expected = slow.patches(trunk.standardise_input(x)[0], 12, 4, 4)
    torch.testing.assert_close(trunk.linear(trunk.standardise_input(x))[0], expected)


def test_an_order_is_linear_only_without_blocks():
    trunk = build_trunk(SHAPES["vector"])
    x = trunk.standardise_input(draw(50, 7))
    a, b, both = (trunk.linear(part) for part in (x[:25], x[25:], x[:25] + x[25:]))
    torch.testing.assert_close(a + b, both)
    a, b, both = (trunk(part)[0] for part in (x[:25], x[25:], x[:25] + x[25:]))
    assert not torch.allclose(a + b, both, atol=0.1)


@pytest.mark.parametrize("name", ["vector", "image to map", "tokens"])
def test_a_deepened_trunk_starts_as_it_was(name):
    trunk = build_trunk(SHAPES[name], 2)
    deeper = trunk.deepen(4, torch.Generator().manual_seed(5)).eval()
    x = trunk.standardise_input(draw(3, *SHAPES[name].x))
    units = deeper(x)
    torch.testing.assert_close(units[3], trunk(x)[1])
    assert torch.equal(deeper.prefix(2)(x)[1], trunk(x)[1])


def test_growing_leaves_the_random_state_alone():
    state = torch.random.get_rng_state()
    build_trunk(SHAPES["vector"]).prefix(1)
    assert torch.equal(state, torch.random.get_rng_state())


def test_columns_that_do_not_vary_are_not_stretched():
    trunk = Trunk(RowShapes(x=(2,), f=(1,)), 4, 0)
    fit_standardisation(trunk, [torch.tensor([[1.0, 5.0], [3.0, 5.0]]), torch.tensor([[5.0, 5.0]])])
    assert trunk.mean.tolist() == [3, 5]
    assert trunk.spread.tolist() == pytest.approx([(8 / 3) ** 0.5, 1])
