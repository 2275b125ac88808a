"""Wrong pieces of ``vesalius.views``."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant("views/bar_chart.py", "value - 2 * error", "value - error", "tests/views/test_bar_chart.py"),
    Mutant(
        "views/complexity/chart_data.py",
        "cumulative[:, at, channel]",
        "parts[:, at, channel]",
        "tests/views/complexity/test_section.py -k pictures",
    ),
    Mutant(
        "views/sparsity/chart_data.py",
        "cut.scores * cut.mask).sum(1)",
        "cut.scores).sum(1)",
        "tests/views/sparsity/test_section.py -k counted",
    ),
    Mutant(
        "views/sparsity/drawing.py",
        "chosen[at + 1]][:, chosen[at]].T",
        "chosen[at + 1]][:, chosen[at]].T.flip(0)",
        "tests/views/sparsity/test_section.py -k drawing",
    ),
    Mutant("views/flow/layout.py", "if part.isdigit()), 0)", "if part.isalpha()), 0)", "tests/views/flow/test_layout.py -k module"),
    Mutant("views/text_fit.py", "start + share * after, stop - share * before", "start, stop", "tests/views/test_text_fit.py -k beside"),
    Mutant("views/text_fit.py", "(lefts[first] + rights[first - 1]) / 2", "0.0", "tests/views/test_text_fit.py -k reach"),
]
