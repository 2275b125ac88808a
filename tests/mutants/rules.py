"""Wrong pieces of ``vesalius.rules``."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant("rules/grid_sampling.py", "mean = (v1 + v0) / 2", "mean = v1", "tests/rules/test_grid_sampling.py -k vary"),
    Mutant("rules/transforms.py", "aten._conj.default, second", "aten.clone.default, second", "tests/rules/test_every_op.py -k complex"),
    Mutant("rules/two_point_ops.py", "(a0 * early + a1 * late)", "(a1 * early + a0 * late)", "tests/rules/test_products.py -k quotients"),
    Mutant("rules/two_point_ops.py", "part / torch.where(whole", "e1 / torch.where(whole", "tests/rules/test_softmax.py -k rows"),
    Mutant("rules/rescale.py", "chosen = (c1 + c0) / 2", "chosen = c1", "tests/rules/test_max_and_where.py -k choice"),
    Mutant("rules/rescale.py", "name in REARRANGING_OPS", "name not in COUNTING_OPS", "tests/rules/test_products.py -k reciprocal"),
    Mutant("rules/decompositions.py", "_device(query)).triu(1)", "_device(query)).triu(0)", "tests/rules/test_softmax.py -k causal"),
    Mutant("rules/recurrent.py", "enter, keep, fresh", "keep, enter, fresh", "tests/rules/test_recurrent.py -k lstm"),
    Mutant(
        "rules/reveal_cancel.py",
        "rule.slope(end, lowered, y1, below)",
        "rule.slope(raised, start, above, y0)",
        "tests/methods/test_analytic.py -k cancel",
    ),
    Mutant("rules/deep_shap.py", "change.detach() * change", "change * change", "tests/methods/test_completeness.py -k cnn"),
    Mutant(
        "rules/network_contributions.py",
        "keep=m + 1 < count) / count",
        "keep=m + 1 < count)",
        "tests/methods/test_analytic.py -k deep_shap",
    ),
    Mutant("rules/unit_rules.py", "self.scale(found.weight)", "found.weight", "tests/methods/test_deeplift.py -k convolutional"),
    Mutant("rules/power_series.py", "b[: k + 1].flip(0)", "b[: k + 1]", "tests/rules/test_taylor_mode.py -k attention"),
    Mutant(
        "rules/layer_rules.py",
        "visit.signed(up, down), visit.signed(down, up)]",
        "visit.signed(up, down), visit.signed(up, down)]",
        "tests/rules/test_lrp_rules.py -k relu",
    ),
    Mutant("rules/lrp.py", "grad / ctx.count,", "grad,", "tests/rules/test_lrp_attention.py -k detach"),
    Mutant("rules/sample_owners.py", "(somebody - nobody))", "somebody)", "tests/rules/test_lrp_absorbed.py -k one_axis"),
    Mutant(
        "rules/lrp.py",
        "fixed = call.on([torch.zeros_like",
        "fixed = call.on([torch.ones_like",
        "tests/rules/test_lrp_absorbed.py -k constants",
    ),
    Mutant("rules/composite.py", "else bias - mean)", "else bias + mean)", "tests/rules/test_lrp_norms.py -k part_of_it"),
    Mutant("rules/composite.py", " or len(layer.users) > 1", "", "tests/rules/test_lrp_norms.py -k two_readers"),
    Mutant("rules/norms.py", "(a1 + a0) * (of_square", "2 * a1 * (of_square", "tests/rules/test_products.py -k norms_are_the_same"),
    Mutant("rules/norms.py", "x.reshape(len(x), groups, -1)", "x.reshape(len(x), 1, -1)", "tests/rules/test_products.py -k instance_norms"),
    Mutant(
        "rules/running_products.py",
        "self.factors // 2 + 1",
        "self.factors // 4 + 1",
        "tests/rules/test_running_products.py -k mean_gradient",
    ),
    Mutant("rules/selection.py", "(g1 - g0) * mean", "(g1 + g0) * mean", "tests/rules/test_selection.py -k another_winner"),
    Mutant("rules/places.py", "slope.sum(-1) - slope.sum(-2)", "slope.sum(-1) + slope.sum(-2)", "tests/rules/test_selection.py -k twin"),
    Mutant("rules/scattering.py", "counts + float(sent.own)", "counts", "tests/rules/test_every_op.py -k 'scatter_reduce and mean'"),
    Mutant("rules/op_kinds.py", "ALIASES.get(name, name)", "name", "tests/rules/test_op_names.py -k second_name_is_known"),
    Mutant("rules/masked_assignment.py", "(marks, value, target)", "(marks, target, value)", "tests/rules/test_every_op.py -k marked"),
    Mutant("rules/absorbed.py", "relevance_of(grad, value)), owner)", "grad), owner)", "tests/rules/test_detach.py -k would_have_passed"),
]
