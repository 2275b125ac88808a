"""The chart of an audit."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np

from vesalius.views import style
from vesalius.views.audit.chart_data import audit_columns, method_rows
from vesalius.views.audit.charts import plot_audit


def test_bars_are_the_shares_in_the_order_of_the_ranking(judged):
    ax = judged.plot().axes[0]
    full, bars = np.array([(bar.get_y(), bar.get_width()) for bar in ax.patches]).reshape(-1, 2, 2).transpose(1, 0, 2)
    assert (full[:, 1] == 1).all()
    expected = [number.share for line in method_rows(judged) for number in line.numbers]
    np.testing.assert_allclose(bars[:, 1], expected, atol=1e-12)
    assert ax.get_yticklabels()[0].get_text() == "1  Integrated gradients"
    assert ax.get_yticklabels()[0].get_color() == style.LIGHT["ok"] != ax.get_yticklabels()[-1].get_color()


def test_intervals_are_drawn_in_a_sampled_audit(judged, drawn):
    assert not plot_audit(judged).axes[0].lines
    assert len(plot_audit(drawn).axes[0].lines) == 2 * len(drawn)


def test_a_chart_goes_where_it_is_told(judged):
    figure, ax = plt.subplots()
    assert plot_audit(judged, ax=ax) is figure
    plt.close(figure)
    heads = {text.get_text() for text in plot_audit(judged).axes[0].texts}
    assert heads >= {column.head for column in audit_columns(judged)}


def test_heads_have_room_in_a_small_chart(judged):
    """None lies on another, and numbers do not reach the next column."""
    for size in ((4.5, 3.0), (6.5, 4.0)):
        figure, ax = plt.subplots(figsize=size)
        plot_audit(judged, ax=ax)
        figure.draw_without_rendering()
        places = [label.get_window_extent() for label in ax.get_xticklabels()]
        assert [label.get_text() for label in ax.get_xticklabels()] == [column.head for column in audit_columns(judged)]
        assert all(one.x1 < other.x1 for one, other in pairwise(places)) and min(place.y0 for place in places) >= 0
        numbers = [text for text in ax.texts if text.get_position()[1] > 0 and text.get_text()[:1].isdigit()]
        step = ax.transData.transform((1.75, 0))[0] - ax.transData.transform((0, 0))[0]
        assert numbers and max(text.get_window_extent().width for text in numbers) < step
        plt.close(figure)


def test_letters_in_a_file_for_a_paper_are_letters(judged, tmp_path):
    path = tmp_path / "audit.pdf"
    judged.plot(title="Judged").savefig(path)
    content = path.read_bytes()
    assert b"/Type3" not in content and b"/CIDFontType2" in content
    assert judged.plot(title="Judged").axes[0].get_title(loc="left") == "Judged"
