"""Wrong pieces of ``vesalius.complexity``."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant(
        "complexity/cross_fit.py", "(one - group, two) for group", "(one, two) for group", "tests/complexity/test_reliability.py -k 'hold'"
    ),
    Mutant(
        "complexity/effectiveness.py",
        "drawn / strengths**power",
        "drawn / strength**power",
        "tests/complexity/test_effectiveness.py -k per_unit",
    ),
    Mutant("core/spread.py", "stats.t.ppf(COVERAGE, degrees)", "stats.norm.ppf(COVERAGE)", "tests/core/test_spread.py"),
    Mutant("complexity/readout.py", "self.gram / rows - a.T @ a / positions", "self.gram / rows", "tests/complexity/test_readout.py"),
    Mutant(
        "complexity/runs.py",
        "fall.mean() > MIN_STANDARD_ERRORS * fall.std() / len(fall) ** 0.5",
        "fall.mean() > -1e9",
        "tests/complexity/test_disentangle.py",
    ),
    Mutant(
        "complexity/components.py",
        "parts = torch.cat([cumulative[:1], cumulative.diff(dim=0)])",
        "parts = cumulative",
        "tests/complexity/test_components.py",
    ),
    Mutant(
        "complexity/held_out.py",
        "pairs = [between[..., one, :, other, :].diagonal(",
        "pairs = [between[..., one, :, one, :].diagonal(",
        "tests/complexity/test_components.py",
    ),
    Mutant(
        "complexity/networks.py",
        "torch.relu(norm(layer(units)) + units)",
        "torch.relu(norm(layer(units)))",
        "tests/complexity/test_networks.py",
    ),
    Mutant("complexity/features.py", "if not split.context:", "if True:", "tests/complexity/test_features.py -k bypassed"),
    Mutant(
        "complexity/effectiveness.py",
        "return -_shapley_values(self.train)",
        "return _shapley_values(self.train)",
        "tests/complexity/test_effectiveness.py",
    ),
    Mutant(
        "complexity/effectiveness.py",
        "clear = useful.values.abs() >= 2 * useful.stderr.clamp_min",
        "clear = useful.values.abs() >= 0 * useful.stderr.clamp_min",
        "tests/complexity/test_effectiveness.py",
    ),
    Mutant("complexity/reliability.py", "(1 - threshold) * total - missed", "total - missed", "tests/complexity/test_reliability.py"),
    Mutant(
        "complexity/strength.py",
        "step_a, step_b, share = here_a - mean_a, here_b - mean_b, rows / (seen + rows)",
        "step_a, step_b, share = here_a - mean_a, here_b - mean_b, 0.5",
        "tests/complexity/test_strength.py",
    ),
    Mutant("complexity/replacement.py", "order <= most", "order < most", "tests/complexity/test_replacement.py"),
    Mutant(
        "complexity/compare.py",
        "(here.stderr.square() + first.stderr.square()).sqrt()",
        "here.stderr",
        "tests/complexity/test_compare.py -k difference",
    ),
    Mutant(
        "complexity/held_out.py",
        "return groups.sum(0) - groups",
        "return groups.sum(0) - groups.flip(0) * 0.5",
        "tests/complexity/test_held_out.py",
    ),
    Mutant(
        "complexity/runs.py",
        "fits[before] = min(fits[before], control, key=lambda fit: float(fit[1].sum()))",
        "fits[before] = fits[before]",
        "tests/complexity/test_held_out.py -k time",
    ),
    Mutant("complexity/picture.py", "parts.cumsum(0)", "parts", "tests/complexity/test_picture.py"),
]
