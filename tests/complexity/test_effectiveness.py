"""Effectiveness and over-fitting against the definition over all orders of arrival, closed forms, and a planted over-fitting component."""

from dataclasses import replace

import pytest
import torch

from tests.reference import complexity as slow
from tests.reference.shapley import shapley_by_orders
from vesalius.complexity.coalitions import LabelledComponents, Scoring
from vesalius.complexity.effectiveness import coalition_losses
from vesalius.core.errors import InvalidInput, TooManyPlayers, UnknownName

DOUBLE = torch.float64


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def some_rows(count=12, orders=3, event=(2, 3, 3), seed=0):
    targets = torch.randint(4, (count,), generator=torch.Generator().manual_seed(seed))
    return LabelledComponents(draw(orders, count, *event, seed=seed), draw(count, *event, seed=seed + 50), targets)


def head(feature):
    """ReLU, pool, linear: as after a late layer."""
    return feature.relu().flatten(2).mean(2) @ draw(2, 4, seed=99).to(feature)


def one_loss(outputs, target):
    return torch.logsumexp(outputs, 0) - outputs[target]


def means(table):
    return [sum(row) / len(row) for row in table]


@pytest.fixture(scope="module")
def found():
    return coalition_losses(head, some_rows(), some_rows(9, seed=3), orders=(1, 2, 4))


@pytest.fixture(scope="module")
def tables():
    return [slow.coalition_losses(head, one_loss, rows.parts, rows.rest, rows.targets) for rows in (some_rows(), some_rows(9, seed=3))]


def test_the_table_is_the_loss_of_every_row_under_every_coalition(found, tables):
    torch.testing.assert_close(found.train, torch.tensor(tables[0], dtype=DOUBLE))
    torch.testing.assert_close(found.test, torch.tensor(tables[1], dtype=DOUBLE))


def test_values_are_means_over_all_orders_of_arrival(found, tables):
    train, test = map(means, tables)
    torch.testing.assert_close(found.effectiveness(None).values, -torch.tensor(shapley_by_orders(train), dtype=DOUBLE))
    gap = [there - here for here, there in zip(train, test, strict=True)]
    torch.testing.assert_close(found.overfitting.values, torch.tensor(shapley_by_orders(gap), dtype=DOUBLE))


def test_efficiency(found):
    train, test = found.train.mean(1), found.test.mean(1)
    assert float(found.effectiveness(None).values.sum()) == pytest.approx(float(train[0] - train[-1]), abs=1e-12)
    assert float(found.overfitting.values.sum()) == pytest.approx(float((test - train)[-1] - (test - train)[0]), abs=1e-12)
    assert float(found.chain.values.sum()) == pytest.approx(float(train[0] - train[-1]), abs=1e-12)
    assert float(found.test_chain.values.sum()) == pytest.approx(float(test[0] - test[-1]), abs=1e-12)
    torch.testing.assert_close(found.per_row.sum(0), found.train[0] - found.train[-1])


def test_efficiency_in_single_precision():
    rows = some_rows(200, 6)
    single = LabelledComponents(rows.parts.float(), rows.rest.float(), rows.targets)
    whole = torch.nn.functional.cross_entropy(head(single.parts.sum(0) + single.rest), single.targets)
    none = torch.nn.functional.cross_entropy(head(single.rest), single.targets)
    assert float(coalition_losses(head, single).effectiveness(None).values.sum()) == pytest.approx(float(none - whole), abs=1e-6)


@pytest.mark.parametrize("normalise", ["std", "var"])
def test_per_unit_of_strength(found, normalise):
    plain, per_unit = found.effectiveness(None), found.effectiveness(normalise)
    unit = torch.tensor([slow.covariance(part, part) for part in some_rows().parts], dtype=DOUBLE) ** (0.5 if normalise == "std" else 1)
    torch.testing.assert_close(per_unit.values, plain.values / unit)


def test_the_error_per_unit_of_strength_counts_that_of_the_strength():
    """By the formula of a ratio of means; it is not that of the value over a strength that is certain."""
    tail = torch.randn(600, generator=torch.Generator().manual_seed(0), dtype=DOUBLE).exp()
    rows = some_rows(600)
    found = coalition_losses(head, replace(rows, parts=rows.parts * tail.view(-1, *[1] * (rows.parts.ndim - 2))))
    per_unit, strength = found.effectiveness("var"), found.strength
    away = found.per_row / strength[:, None] - per_unit.values[:, None] * found.deviations / strength[:, None]
    torch.testing.assert_close(per_unit.stderr, away.std(1) / 600**0.5, rtol=0.08, atol=0)


def test_a_single_row_has_no_error():
    assert coalition_losses(head, some_rows(1)).effectiveness(None).stderr.isnan().all()


def test_a_component_of_zeros_is_worth_nothing_and_has_no_value_per_strength():
    rows = some_rows()
    rows.parts[1] = 0
    found = coalition_losses(head, rows)
    assert found.effectiveness(None).values[1] == 0 and found.chain.values[1] == 0
    assert found.effectiveness().values.isnan().tolist() == [False, True, False]


def test_equal_components_have_equal_values_which_the_chain_does_not_see():
    rows = some_rows()
    rows.parts[2] = rows.parts[0]
    found = coalition_losses(head, rows, some_rows(9, seed=3))
    values = found.effectiveness().values
    assert float(values[0]) == pytest.approx(float(values[2]), abs=1e-12)
    assert abs(float(found.chain.values[0] - found.chain.values[2])) > 1e-3


def test_an_additive_head_has_a_closed_form():
    """Each component feeds an output of its own and the squared error is a mean over outputs, so nothing is shared."""
    parts = torch.diag_embed(draw(40, 3)).movedim(1, 0)  # component l is not zero in channel l only
    rows = LabelledComponents(parts, draw(40, 3, seed=1), draw(40, 3, seed=2))
    found = coalition_losses(lambda feature: 2 * feature, rows, scoring=Scoring(loss="squared_error"))
    before, after = (2 * rows.rest - rows.targets).square(), (2 * (rows.rest + parts.sum(0)) - rows.targets).square()
    torch.testing.assert_close(found.per_row, (before - after).T / 3)
    torch.testing.assert_close(found.chain.values, found.effectiveness(None).values)


def test_a_loss_of_ones_own_is_the_named_one():
    rows = some_rows()
    rows = LabelledComponents(rows.parts, rows.rest, draw(12, seed=4))
    single = lambda feature: feature.flatten(1).sum(1)  # noqa: E731
    named = coalition_losses(single, rows, scoring=Scoring(loss="squared_error"))
    own = coalition_losses(single, rows, scoring=Scoring(loss=lambda outputs, targets: (outputs - targets) ** 2))
    torch.testing.assert_close(named.train, own.train)
    assert named.train_correct is None


def test_absence_by_the_mean_puts_the_training_mean_in_place_of_what_is_absent():
    train, test = some_rows(), some_rows(9, seed=3)
    found = coalition_losses(head, train, test, scoring=Scoring(absence="mean"))
    mean = train.parts.mean(1)
    only_last = test.rest + mean[0] + mean[1] + test.parts[2]
    torch.testing.assert_close(found.test[0b100], torch.nn.functional.cross_entropy(head(only_last), test.targets, reduction="none"))
    whole = coalition_losses(head, train, test)
    torch.testing.assert_close(found.test[-1], whole.test[-1])
    assert (found.train[0] - whole.train[0]).abs().max() > 1e-3


@pytest.mark.parametrize("memory", [1, 800, 5000])
def test_memory_changes_nothing(found, memory):
    again = coalition_losses(head, some_rows(), some_rows(9, seed=3), scoring=Scoring(memory=memory))
    torch.testing.assert_close(again.train, found.train)
    assert torch.equal(again.test_correct, found.test_correct)


def test_rows_are_halved_when_memory_runs_out(found):
    def narrow(feature):
        if len(feature) > 24:
            raise RuntimeError("CUDA out of memory (pretended)")
        return head(feature)

    torch.testing.assert_close(coalition_losses(narrow, some_rows(), scoring=Scoring(memory=1 << 20)).train, found.train)


def test_accuracy_of_every_subset(found):
    rows = some_rows(9, seed=3)
    for coalition in range(8):
        picked = [place for place in range(3) if coalition >> place & 1]
        right = head(rows.rest + rows.parts[picked].sum(0)).argmax(1) == rows.targets
        assert float(found.accuracy[coalition]) == pytest.approx(float(right.double().mean()))
    assert found.members(0b101) == (1, 4)


def test_the_bootstrap_is_the_error_of_a_mean():
    found = coalition_losses(head, some_rows(400), some_rows(300, seed=3))
    expected = found.per_row.std(1) / 400**0.5
    torch.testing.assert_close(found.effectiveness(None).stderr, expected, rtol=0.1, atol=0)
    per_test = coalition_losses(head, some_rows(300, seed=3)).per_row
    together = (expected.square() + per_test.var(1) / 300).sqrt()
    torch.testing.assert_close(found.overfitting.stderr, together, rtol=0.1, atol=0)


def planted_losses():
    """Component 1 knows the class of every row; component 2 that of training rows only; component 3 is noise."""

    def rows(count, seed, seen):
        label = torch.randint(5, (count,), generator=torch.Generator().manual_seed(seed))
        truth = torch.nn.functional.one_hot(label, 5).double()
        memory = truth if seen else torch.nn.functional.one_hot(label.roll(1), 5).double()
        return LabelledComponents(
            torch.stack([2 * truth, 2 * memory, 0.01 * draw(count, 5, seed=seed)]), draw(count, 5, seed=seed + 9), label
        )

    return coalition_losses(lambda feature: feature, rows(600, 1, True), rows(600, 2, False))


def test_a_component_that_learned_rows_by_heart_is_overfitted_and_noise_has_no_ratio():
    found = planted_losses()
    gap, ratio = found.overfitting, found.ratio
    assert gap.values[1] > 10 * gap.stderr[1] and gap.values[1] > 3 * gap.values[0].abs()
    assert ratio.values.isnan().tolist() == [False, False, True]
    assert ratio.values[1] > 1 and ratio.stderr[:2].max() < 0.3
    assert float(ratio.values[1]) == pytest.approx(float(gap.values[1] / found.effectiveness(None).values[1]))


def test_the_best_subset_leaves_out_what_overfits_and_is_reported_on_other_rows():
    found, validation = planted_losses(), torch.arange(600) < 300
    best = found.best(validation)
    assert 1 in best.orders and 2 not in best.orders and best.criterion == "accuracy"
    assert best.test == pytest.approx(float(found.test_correct[best.coalition, 300:].double().mean()))
    assert best.whole == pytest.approx(float(found.test_correct[-1, 300:].double().mean()))
    assert best.validation == pytest.approx(float(found.test_correct[:, :300].double().mean(1).max()))
    assert best.test > best.whole + 5 * best.stderr > best.whole


def test_the_best_subset_by_loss_where_there_are_no_classes():
    rows = LabelledComponents(draw(2, 30, 2), draw(30, 2, seed=1), draw(30, 2, seed=2))
    found = coalition_losses(lambda z: z, rows, rows, scoring=Scoring(loss="squared_error"))
    validation = torch.arange(30) < 15
    best = found.best(validation)
    assert best.criterion == "loss" and best.coalition == int(found.test[:, :15].mean(1).argmin())
    assert best.test == pytest.approx(float(found.test[best.coalition, 15:].mean()))


def test_the_head_is_run_without_gradients():
    seen = []
    coalition_losses(lambda feature: seen.append(torch.is_grad_enabled()) or head(feature), some_rows())
    assert seen and not any(seen)


REFUSED = [
    (lambda: LabelledComponents(draw(2, 5, 3), draw(4, 3), torch.zeros(4)), InvalidInput, "not shapes"),
    (lambda: LabelledComponents(draw(2, 0, 3), draw(0, 3), torch.zeros(0)), InvalidInput, "at least one component"),
    (lambda: LabelledComponents(draw(13, 1, 1), draw(1, 1), torch.zeros(1)), TooManyPlayers, "13 players.*at most 12.*bands"),
    (lambda: LabelledComponents(draw(2, 5, 3) / 0, draw(5, 3), torch.zeros(5)), InvalidInput, "NaN or infinite"),
    (lambda: Scoring(loss="crossentropy"), UnknownName, "cross_entropy"),
    (lambda: Scoring(absence="noise"), UnknownName, "mean"),
    (lambda: Scoring(resamples=1), InvalidInput, "resamples is a whole number of at least 2"),
    (lambda: coalition_losses(head, some_rows(), orders=(1, 2)), InvalidInput, "3 components need as many orders, not 2"),
    (lambda: coalition_losses(head, some_rows(), some_rows(orders=2)), InvalidInput, "test components"),
    (lambda: coalition_losses(lambda f: head(f)[:1], some_rows()), InvalidInput, "keep rows apart"),
    (lambda: coalition_losses(lambda f: head(f)[:, :2], some_rows()), InvalidInput, "classes run from 0 to 1"),
    (lambda: coalition_losses(lambda f: head(f)[:, 0], some_rows()), InvalidInput, "loss='squared_error'"),
    (lambda: coalition_losses(head, some_rows(), scoring=Scoring(loss="squared_error")), InvalidInput, "but the targets have shape"),
    (lambda: coalition_losses(head, some_rows(), scoring=Scoring(loss=lambda o, t: o.mean())), InvalidInput, "do not average"),
    (lambda: coalition_losses(lambda f: head(f) * torch.nan, some_rows()), InvalidInput, "coalition 000 has a loss that is not finite"),
    (lambda: coalition_losses(head, some_rows()).overfitting, InvalidInput, "needs test rows"),
    (lambda: coalition_losses(head, some_rows()).effectiveness("sd"), UnknownName, "std"),
    (
        lambda: coalition_losses(head, some_rows(), some_rows()).best(torch.ones(12, dtype=torch.bool)),
        InvalidInput,
        "some of the 12 test rows",
    ),
    (
        lambda: (
            coalition_losses(
                lambda f: f.flatten(1)[:, 0], LabelledComponents(draw(1, 4, 2), draw(4, 2), draw(4)), scoring=Scoring(loss="squared_error")
            ).accuracy
        ),
        InvalidInput,
        "accuracy needs classes",
    ),
]


@pytest.mark.parametrize(("ask", "error", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
@pytest.mark.usefixtures("as_a_user")
def test_what_cannot_be_measured_is_refused(ask, error, message):
    with pytest.raises(error, match=message):
        ask()
