"""A pruned network on a page: what is left, why, and what it makes of samples."""

import numpy as np
import pytest
import torch

import vesalius as vs
from tests.views.sparsity.pruned_autoencoder import images, picked, pruned
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.models import Autoencoder
from vesalius.sparsity import Pruning, sparsify
from vesalius.views.sparsity import chart_data
from vesalius.views.sparsity.captions import notes
from vesalius.views.sparsity.charts import plot_sparsified
from vesalius.views.sparsity.compact import compact_body, compact_section
from vesalius.views.sparsity.drawing import kept_network, layer_chain
from vesalius.views.sparsity.importance import importance_section
from vesalius.views.sparsity.section import sparsified_section


def test_layers_are_counted_as_they_are():
    first, second = chart_data.pruned_layers(picked())
    assert (first.kept, first.alive, first.read) == (3, 2, 3)
    assert (second.kept, second.alive, second.read) == (3, 2, 3)
    assert first.carried == pytest.approx(18 / 18.5)
    assert first.unit_importance.tolist() == pytest.approx([8 / 3, 2, 4 / 3, 0.5 / 3])
    assert chart_data.most_important_units(first).tolist() == [0, 1]


def test_reasons_are_the_ends_of_the_ranking_on_both_sides_of_the_cut():
    first, _ = chart_data.pruned_layers(picked())
    found = chart_data.ranked_links(first)
    assert [(one.source, one.unit, one.rank, one.kept) for one in found] == [
        (0, 0, 1, True),
        (1, 1, 2, True),
        (2, 0, 3, True),
        (3, 2, 4, False),
    ]
    assert found[0].share == pytest.approx(8 / 18.5)


def test_the_curve_is_the_share_of_the_strongest():
    places, shares = chart_data.importance_curve(chart_data.pruned_layers(picked())[0].scores)
    assert places[0] == shares[0] == 0 and places[-1] == shares[-1] == 1
    assert shares[np.searchsorted(places, 1 / 12)] == pytest.approx(8 / 18.5)
    assert (np.diff(shares) >= 0).all()


def test_the_drawing_has_the_links_that_are_kept_with_the_sign_of_their_weight():
    shown = picked()
    cuts = layer_chain(chart_data.pruned_layers(shown))
    kept = kept_network(cuts, [cut.links.matrix(shown.network.parameters[cut.links.layer.weight]) for cut in cuts])
    dots = kept.dots
    drawn = {(dots[line.first].column, dots[line.first].position, dots[line.second].position): line.weight for line in kept.lines}
    assert drawn[0, 0, 0] == pytest.approx(8) and drawn[0, 2, 0] == pytest.approx(-4) and drawn[1, 1, 1] == pytest.approx(3)
    assert kept.left_out == 0 and len(kept.lines) == 6
    assert [dot.alive for dot in dots if (dot.column, dot.position) in {(1, 2), (0, 3)}] == [False, False]
    few = kept_network(cuts, [cut.scores for cut in cuts], most_units=1)
    assert few.others == (3, 2, 1) and len(few.lines) == 1 and few.left_out == 5


def test_layers_that_do_not_follow_one_another_are_not_drawn():
    torch.manual_seed(0)
    skips = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8, 2))
    network = vs.trace(skips, torch.rand(2, 1, 4, 4))
    shown = vs.sparsify(network, torch.rand(40, 1, 4, 4), sparsity=0.5)
    assert layer_chain(chart_data.pruned_layers(shown)) == []
    body = str(sparsified_section(shown, x=torch.rand(5, 1, 4, 4)).body)
    assert 'class="flow"' not in body and "The output changes by" in body


def test_an_autoencoder_of_images_is_shown_with_them(read):
    page = read(str(sparsified_section(pruned(), x=images(), shape=(4, 4)).body))
    cut = chart_data.pruned_layers(pruned())[0]
    pictures = 3 * chart_data.MOST_SAMPLES + 1 + len(chart_data.most_important_units(cut))
    assert len(page.all("figure")) == pictures + 1
    for words in ("reconstruction error", "mean sample", "Importance of the links that units", "Nothing was refitted", "importance kept"):
        assert words in page.text
    plain = read(str(sparsified_section(pruned()).body))
    assert "Importance of the links that units of" not in plain.text and "reconstruction error" not in plain.text


def test_what_is_said_about_errors_is_measured():
    shown, x = pruned(), images(20)
    found = chart_data.output_errors(shown, x)
    after = shown.model(x).detach()
    assert found["error, pruned"] == pytest.approx(float((after - x).square().mean()), rel=1e-4)
    assert found["error of the mean sample"] == pytest.approx(float(x.var(0, correction=0).mean()), rel=1e-4)
    pair = chart_data.before_after_images(shown, x, (1, 4, 4))[1]
    np.testing.assert_allclose(pair.after.reshape(-1), after[1].numpy(), rtol=1e-5)
    np.testing.assert_allclose(pair.image.reshape(-1), x[1].numpy(), rtol=1e-6)


def test_an_output_of_the_samples_shape_is_not_yet_an_autoencoder(read):
    torch.manual_seed(0)
    classifier = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 16))
    shown = sparsify(classifier, images(), sparsity=0.5, pruning=Pruning(rounds=1))
    assert set(chart_data.output_errors(shown, images())) == {"from the dense output"}
    page = read(str(sparsified_section(shown, x=images(), shape=(4, 4)).body))
    assert "The output changes by" in page.text and "before and after" not in page.text


def test_rounds_and_constant_units_are_told():
    shown = pruned("refit")
    told = " ".join(notes(shown, chart_data.pruned_layers(shown)))
    assert "scored anew in every round" in told
    assert "1 of 0" in " ".join(notes(picked(), chart_data.pruned_layers(picked())))


@pytest.mark.usefixtures("as_a_user")
def test_wrong_things_are_refused():
    with pytest.raises(WrongType, match="expected a Sparsified, not int"):
        sparsified_section(3)
    with pytest.raises(InvalidInput, match=r"samples have shape \(16,\); \(5, 5\)"):
        sparsified_section(pruned(), shape=(5, 5))


def test_it_draws_itself_and_fits_in_a_report():
    figure = plot_sparsified(pruned())
    assert len(figure.axes[0].lines) >= 4
    assert pruned().plot().axes[0].get_xlabel() == "share of the links, strongest first"
    assert "connections (links) are left" in pruned()._repr_html_()
    assert "Connection pruning" in vs.report([pruned()], title="t").html


@pytest.mark.usefixtures("as_a_user")
def test_forms_are_shown_with_what_was_removed(read):
    shown = picked().compact(rows=images()[:, :4], batches=(1, 8))
    page = read(str(compact_section(shown).body))
    assert "of the dense one" in page.text and shown.verdict in page.text and page.text.count("; chosen") == 1
    assert len(page.all("tr")) == 1 + len(shown.table)
    assert "Size and speed of the pruned network" in shown._repr_html_()
    with pytest.raises(WrongType, match="expected a Compact, not int"):
        compact_body(3)


def test_importance_is_shown_layer_by_layer(read):
    network = vs.trace(Autoencoder([16, 6, 3]), images()[:2])
    shown = vs.link_importance(network, images())
    page = read(str(importance_section(shown, shape=(4, 4)).body))
    assert len(page.all("tr")) == 1 + len(shown) and len(page.all("figure")) == 1 + 1 + 6
    assert "encoder.0" in page.text and "links with 80 % of it" in page.text
    assert shown.plot().axes[0].get_ylabel() == "share of the importance"
    assert "Link importance" in vs.report([shown], title="t").html and "Link importance" in shown._repr_html_()
    with pytest.raises(InvalidInput, match="reads 16 values"):
        importance_section(shown, shape=(3, 3))
