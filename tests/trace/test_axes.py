"""What becomes of axes, held against tensors whose elements say where they were."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vesalius.trace.axes import (
    BATCH,
    POSITIONS,
    UNITS,
    UNKNOWN,
    AxisPart,
    BatchLayout,
    ValueAxes,
    fit_axis,
    join_parts,
    merge_axes,
    new_axis,
    reshape_axes,
)

B = 5
"""Samples; a prime that divides no other side."""


def coordinates(shape):
    """Along which place of each axis every element of a tensor of this shape is."""
    return torch.meshgrid(*(torch.arange(side) for side in shape), indexing="ij")


def predicted(axes, shape, origin):
    """The same for one axis of old, from what is known of the new ones; ``None`` where no axis has it."""
    total = None
    for at, parts in enumerate(axes):
        place = torch.arange(shape[at]).reshape([-1 if axis == at else 1 for axis in range(len(shape))])
        inner = 1
        for part in reversed(parts):
            side = B if part.size is None else part.size
            if part.origin == origin:
                share = (place // inner % side) * part.stride
                total = share if total is None else total + share
            inner *= side
    return total


def axes_of(shape):
    """Axes of a new value, whose batch is where a side is B."""
    return tuple(
        new_axis(BATCH if side == B else POSITIONS, None if side == B else side, str(at), 0)[:1] if side != 1 else ()
        for at, side in enumerate(shape)
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((B, 6, 4), (B * 6, 4)),
        ((6, B, 4), (6 * B, 4)),
        ((B, 6, 4), (B, 2, 3, 4)),
        ((B, 6, 4), (B, 6, 2, 2)),
        ((6, B, 4), (6, B * 2, 2)),
        ((B, 4, 3, 2), (B, 24)),
        ((B, 1, 6), (B, 6, 1)),
        ((B, 6, 4), (B * 3, 2, 4)),
    ],
)
def test_a_reshape_moves_every_element_where_the_parts_say(before, after):
    found = reshape_axes(axes_of(before), [None if side % B == 0 else side for side in after])
    for at, grid in enumerate(coordinates(before)):
        if before[at] > 1:
            assert torch.equal(predicted(found, after, str(at)).expand(after), grid.reshape(after))


@given(st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, max_size=4), st.integers(0, 4), st.data())
def test_any_reshape_is_told_truly_or_not_at_all(sides, place, data):
    """Whatever is known of an axis afterwards is true of every element."""
    before = (*sides[:place], B, *sides[place:])
    count = torch.Size(before).numel()
    rest, after = count, []
    while rest > 1:
        side = data.draw(st.sampled_from([one for one in range(2, rest + 1) if rest % one == 0]))
        after.append(side)
        rest //= side
    found = reshape_axes(axes_of(before), [None if side % B == 0 else side for side in after])
    for at, grid in enumerate(coordinates(before)):
        said = None if found is None else predicted(found, after, str(at))
        complete = (
            found is not None
            and torch.Size(part.size or B for axis in found for part in axis if part.origin == str(at)).numel() == before[at]
        )
        if said is not None and complete and before[at] > 1:
            assert torch.equal(said.expand(after), grid.reshape(after))


def test_an_axis_that_was_cut_is_one_again_when_its_parts_meet():
    (heads, inner) = reshape_axes((new_axis(UNITS, 8, "fc:2", 1),), [2, 4])
    assert (heads[0].size, inner[0].size, heads[0].stride) == (2, 4, 4) and not heads[0].is_whole
    assert join_parts((*heads, *inner)) == new_axis(UNITS, 8, "fc:2", 1)
    assert len(join_parts((*inner, *heads))) == 2, "in the other order they are not"


def test_samples_that_are_dealt_out_anew_are_lost():
    flat = reshape_axes(((AxisPart(POSITIONS, 4, "t"),), (AxisPart(BATCH, None, "b"),)), [None])
    assert ValueAxes("x", flat).batch == BatchLayout(axis=0, before=4, after=1)
    assert ValueAxes("x", reshape_axes(flat, [None, 4])).batch is None


@pytest.mark.parametrize(
    ("layout", "shape"), [(BatchLayout(1), (3, B, 2)), (BatchLayout(0, 1, 4), (B * 4, 2)), (BatchLayout(1, 3, 2), (2, 3 * B * 2, 4))]
)
def test_batch_first_and_back(layout, shape):
    tensor = torch.randn(shape)
    first = layout.batch_first(tensor)
    assert len(first) == B and torch.equal(layout.restore(first), tensor)
    owners = layout.sample_of_each(B) if not layout.is_plain else torch.arange(B)
    marked = owners.reshape([-1 if axis == layout.axis else 1 for axis in range(len(shape))]).expand(shape)
    assert torch.equal(layout.batch_first(marked), torch.arange(B).reshape(-1, *[1] * (first.ndim - 1)).expand(first.shape))


def test_a_sum_has_units_where_both_terms_have_them():
    units, places, newer = new_axis(UNITS, 6, "a", 1), new_axis(POSITIONS, 6, "b", 2), new_axis(UNITS, 6, "c", 3)
    unknown = new_axis(UNKNOWN, 6, "d", 0)
    assert merge_axes(units, places) == merge_axes(places, units) == places
    assert merge_axes(units, unknown) == merge_axes(unknown, units) == units
    assert merge_axes(units, newer) == newer


def test_a_slice_of_units_is_units_and_of_the_batch_nobody_knows():
    assert fit_axis(new_axis(UNITS, 8, "a", 1), 4, "b", 2) == new_axis(UNITS, 4, "b", 2)
    assert fit_axis(new_axis(BATCH, None, "a", 1), 1, "b", 2)[0].kind == UNKNOWN
    cut = (AxisPart(UNITS, 4, "a", 1, 1, 8),)
    assert not fit_axis(cut, 2, "b", 2)[0].is_whole, "half of a head is not a row of units"


def test_which_axis_has_the_units():
    batch, steps, units = new_axis(BATCH, None, "b", 0), new_axis(POSITIONS, 6, "t", 0), new_axis(UNITS, 6, "u", 1)
    newer, nothing = new_axis(UNITS, 4, "v", 2), new_axis(UNKNOWN, 4, "w", 0)
    heads, inner = reshape_axes((new_axis(UNITS, 8, "h", 3),), [2, 4])
    cases = [
        ((batch, steps, units), 2),
        ((steps, batch, units), 2),
        ((batch, units, newer), 2),
        ((batch, newer, units), 1),
        ((batch, heads, steps, inner), None),
        ((batch, heads, steps, steps), 1),
        ((batch, heads, nothing), None),
        ((batch, nothing, nothing), None),
        ((batch, nothing), 1),
        ((batch, nothing, ()), 1),
        ((batch,), None),
        ((units, steps), None),
    ]
    assert [ValueAxes("x", axes).units for axes, _ in cases] == [axis for _, axis in cases]
    assert ValueAxes("x", (batch, heads, steps, inner)).split_units == (1, 3)
