"""Ablation curves, drawn: every order, what can go at a small loss, and several layers side by side."""

import pytest
import torch

import vesalius as vs
from vesalius.information.ablation import AblationCurves
from vesalius.views.flow.ablation import ablation_section
from vesalius.views.flow.charts import plot_ablation


@pytest.fixture
def removal():
    accuracy = {
        "flow": torch.tensor([[0.9, 0.9, 0.895, 0.5, 0.1]]),
        "magnitude": torch.tensor([[0.9, 0.8, 0.7, 0.4, 0.1]]),
        "random": torch.tensor([[0.9, 0.7, 0.5, 0.3, 0.1], [0.9, 0.8, 0.6, 0.3, 0.1], [0.9, 0.6, 0.4, 0.3, 0.1]]),
    }
    return AblationCurves(
        layer="fc1", what="units", removed=torch.linspace(0, 1, 5).double(), accuracy={k: v.double() for k, v in accuracy.items()}
    )


def test_the_section_has_a_chart_per_layer_and_what_can_go(removal, read):
    page = read(str(ablation_section(removal, removal).body))
    assert len(page.all("svg", **{"class": "lines"})) == 2
    table = page.text.split("ablated at a loss of 1 %")[-1]
    rows = ("information flow 69.9 % 50 %", "magnitude 60 % 0 %", "random 50 % 0 %")
    assert [line.strip() for line in table.split("units of fc1")[1:]] == [*rows, *rows], table


def test_it_draws_itself(removal):
    assert plot_ablation(removal).axes[0].get_ylabel() == "accuracy"
    assert removal.plot().axes[0].get_xlabel().startswith("share of units ablated")
    assert removal.plot(title="What can go").axes[0].get_title(loc="left") == "What can go"
    assert "Ablation of units and connections" in removal._repr_html_()
    assert "units of fc1" in vs.report(removal, title="t").html
