"""Wrong pieces of ``vesalius.rules``."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant("rules/slopes.py", "(a0 * early + a1 * late)", "(a1 * early + a0 * late)", "tests/rules/test_products.py -k quotients"),
    Mutant("rules/slopes.py", "part / torch.where(whole", "e1 / torch.where(whole", "tests/rules/test_normalised.py -k rows"),
    Mutant("rules/largest.py", "torch.where(x0.gather(-1, i1) == y0, i1, i0)", "i0", "tests/rules/test_selections.py -k zero_image"),
    Mutant("rules/rescale.py", "chosen = (c1 + c0) / 2", "chosen = c1", "tests/rules/test_selections.py -k choice"),
    Mutant("rules/rescale.py", "name in PLACING", "name not in COUNTING", "tests/rules/test_products.py -k reciprocal"),
    Mutant("rules/opened.py", ".triu(1)", ".triu(0)", "tests/rules/test_normalised.py -k causal"),
    Mutant("rules/recurrent.py", "enter, keep, fresh", "keep, enter, fresh", "tests/rules/test_sequences.py -k lstm"),
    Mutant(
        "rules/reveal.py",
        "rule.slope(end, lowered, y1, below)",
        "rule.slope(raised, start, above, y0)",
        "tests/methods/test_analytic.py -k cancel",
    ),
    Mutant("rules/components.py", "change.detach() * change", "change * change", "tests/methods/test_completeness.py -k cnn"),
    Mutant("rules/compare.py", "keep=m + 1 < count) / count", "keep=m + 1 < count)", "tests/methods/test_analytic.py -k deep_shap"),
    Mutant("rules/units.py", "self.scale(found.weight)", "found.weight", "tests/methods/test_deeplift.py -k convolutional"),
    Mutant("rules/series.py", "b[: k + 1].flip(0)", "b[: k + 1]", "tests/rules/test_jets.py -k attention"),
    Mutant("rules/layer_rules.py", "(down, up), -1)", "(up, down), -1)", "tests/rules/test_lrp_rules.py -k relu"),
    Mutant("rules/lrp.py", "ctx.values, grad / 2)", "ctx.values, grad)", "tests/rules/test_lrp_attention.py -k detach"),
    Mutant("rules/lrp.py", "(somebody - nobody))", "somebody)", "tests/rules/test_lrp_accounts.py -k one_axis"),
    Mutant(
        "rules/lrp.py",
        "fixed = call.on([torch.zeros_like",
        "fixed = call.on([torch.ones_like",
        "tests/rules/test_lrp_accounts.py -k constants",
    ),
    Mutant("rules/composite.py", "else bias - mean)", "else bias + mean)", "tests/rules/test_lrp_norms.py -k part_of_it"),
    Mutant("rules/composite.py", " or len(layer.users) > 1", "", "tests/rules/test_lrp_norms.py -k two_readers"),
    Mutant("rules/norms.py", "(a1 + a0) * (of_square", "2 * a1 * (of_square", "tests/rules/test_products.py -k norms_are_the_same"),
    Mutant("rules/norms.py", "x.reshape(len(x), groups, -1)", "x.reshape(len(x), 1, -1)", "tests/rules/test_products.py -k instance_norms"),
]
