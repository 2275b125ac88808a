"""Wrong pieces of ``vesalius.information``."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant("information/text_masks.py", "(wanted + 1)[:, None]", "wanted[:, None]", "tests/information/test_text_positions.py -k padded"),
    Mutant(
        "information/estimators/contingency.py",
        "null.expected * filled",
        "null.expected * 0",
        "tests/information/test_estimators_binned.py",
    ),
    Mutant(
        "information/estimators/independence_tests.py",
        "smallest * spread >= TRUSTED_CELL",
        "smallest * spread >= 0",
        "tests/information/test_estimators_independence.py",
    ),
    Mutant(
        "information/estimators/independence_tests.py",
        "2 * np.minimum(drawn.sf(counts[0] - 1), drawn.cdf(counts[0]))",
        "2 * np.minimum(drawn.sf(counts[0]), drawn.cdf(counts[0]))",
        "tests/information/test_estimators_independence.py",
    ),
    Mutant(
        "information/estimators/levels.py",
        "discount * seen * alone",
        "0 * seen * alone",
        "tests/information/test_estimators_levels.py",
    ),
    Mutant(
        "information/estimators/ksg_numba.py",
        "mean + slope * (whole - known.mean())",
        "mean - slope * (whole - known.mean())",
        "tests/information/test_estimators_ksg.py -k some_rows",
    ),
    Mutant("information/estimators/contingency.py", "(4 * a - b) / 3", "a + 0 * b", "tests/information/test_estimators_binned.py"),
    Mutant(
        "information/estimators/null_distribution.py", "(v1 - w1) * (v2 - w2)", "v1 * v2", "tests/information/test_estimators_binned.py"
    ),
    Mutant(
        "information/estimators/discretization.py",
        "new = pooled.start[self.owner] + torch.where(within < bins, within // 2",
        "new = pooled.start[self.owner] + torch.where(within < bins, within // 4",
        "tests/information/test_estimators_binned.py",
    ),
    Mutant(
        "information/estimators/mixed_variables.py",
        "mixed = torch.randperm(n, generator=generator)",
        "mixed = torch.arange(n)",
        "tests/information/test_estimators_ksg.py",
    ),
    Mutant(
        "information/estimators/auto.py", "adjusted(screened.p) <= self.level", "screened.p <= 0", "tests/information/test_estimators.py"
    ),
    Mutant(
        "information/estimators/gaussian.py",
        ".log1p_().mul_(-0.5)",
        ".log1p_().mul_(-0.25)",
        "tests/information/test_estimators_gaussian.py",
    ),
    Mutant(
        "information/estimators/estimate.py",
        "np.minimum.accumulate(scaled.numpy())",
        "scaled.numpy()",
        "tests/information/test_graph_edge_weights.py",
    ),
    Mutant(
        "information/edge_weights.py",
        "shared.sum(1) / (live.sum() - 1).clamp_min(1)",
        "shared.sum(1) / len(live)",
        "tests/information/test_graph_edge_weights.py",
    ),
    Mutant(
        "information/edge_weights.py",
        "-torch.expm1(-2 * information.clamp_min(0))",
        "-torch.expm1(-information.clamp_min(0))",
        "tests/information/test_graph_edge_weights.py",
    ),
    Mutant(
        "information/centrality.py",
        "flow.reciprocal().clamp_max(MAX_LENGTH) for flow",
        "flow for flow",
        "tests/information/test_graph_centrality.py",
    ),
    Mutant(
        "information/paths.py",
        "found, chosen = found[:, :k], chosen[:, :k]",
        "found, chosen = found[:, :1], chosen[:, :1]",
        "tests/information/test_graph_paths.py",
    ),
    Mutant(
        "information/paths.py",
        "found[at] = found[at] + part if at in found else part",
        "found[at] = part",
        "tests/information/test_graph_paths.py -k sum_over_all",
    ),
    Mutant(
        "information/centrality.py",
        "part + layers.depths[second] - layers.depths[first]",
        "part + 1",
        "tests/information/test_graph_centrality.py -k longer_way",
    ),
    Mutant(
        "information/pruning.py",
        "to[at] + left[at] == fewest",
        "False",
        "tests/information/test_graph_redundancy.py -k 'passes or side_by_side'",
    ),
    Mutant(
        "information/site_graph.py",
        "if None in sites[at] or step in sites[at]:",
        "if True:",
        "tests/information/test_site_graph.py -k follow_each_other",
    ),
    Mutant(
        "information/residual_sums.py",
        "behind[parts[0]] != behind[parts[1]]",
        "True",
        "tests/information/test_units.py -k written_by_hand",
    ),
    Mutant(
        "information/comparison.py",
        "torch.hypot(*errors)",
        "errors[0]",
        "tests/information/test_comparison.py -k their_error",
    ),
    Mutant("information/communities.py", "1 / search.gamma", "search.gamma", "tests/information/test_graph_communities.py"),
    Mutant(
        "information/communities.py",
        "chance = rows * columns / everything if everything else 0.0",
        "chance = 0.0",
        "tests/information/test_graph_communities.py",
    ),
    Mutant("information/redundancy.py", ".triu(1)", ".triu(0)", "tests/information/test_graph_redundancy.py"),
    Mutant("information/pointwise.py", "inside_x + 1, inside_y + 1", "inside_x, inside_y + 1", "tests/information/test_pointwise.py"),
    Mutant("information/ablation.py", "kept[order[:gone]] = False", "kept[order[gone:]] = False", "tests/information/test_ablation.py"),
    Mutant(
        "information/activation_sites.py",
        'NORM_OPS = frozenset({"batch_norm", "group_norm"})',
        "NORM_OPS = frozenset()",
        "tests/information/test_units.py",
    ),
    Mutant(
        "information/units.py",
        "(spots[:, at % POSITION_AXES] * side).long()",
        "(spots[:, 0] * side).long()",
        "tests/information/test_units.py -k sampled",
    ),
    Mutant(
        "information/flow.py",
        "return torch.nn.functional.one_hot(labels).double()",
        "return labels[:, None].double()",
        "tests/information/test_flow.py -k true_classes",
    ),
    Mutant("information/recorded_activations.py", " | discrete[unit]", "", "tests/information/test_recorded_activations.py -k share_but"),
]
