"""Wrong pieces of ``vesalius.methods``."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant(
        "methods/quadrature.py",
        "panel.error = max(error[i], missing[i], rounding[i])",
        "panel.error = error[i]",
        "tests/methods/test_integrated_gradients.py -k no_gradient_sees",
    ),
    Mutant(
        "methods/quadrature.py",
        "made.append(_Panel(panel.line, right, panel.stop",
        "made.append(_Panel(panel.line, left, panel.stop",
        "tests/methods/test_quadrature.py -k norms",
    ),
    Mutant(
        "methods/clenshaw_curtis.py",
        "math.comb(2 * k, k) / 4**k / (2 * k + 1)",
        "math.comb(2 * k, k) / 9**k / (2 * k + 1)",
        "tests/methods/test_quadrature.py -k strip",
    ),
    Mutant(
        "methods/clenshaw_curtis.py",
        "weights[[0, -1]] /= 2",
        "weights[[0, -1]] /= 1",
        "tests/methods/test_quadrature.py -k polynomials",
    ),
    Mutant(
        "methods/integrated_gradients.py",
        "+ allocation.gap.double()[:, None] * share",
        "(0 * share)",
        "tests/methods/test_quadrature.py -k 'norms or baselines'",
    ),
    Mutant(
        "methods/straight_path.py",
        "stop - before * (stop - start)",
        "stop - 0.9 * before * (stop - start)",
        "tests/methods/test_quadrature.py -k baselines",
    ),
    Mutant(
        "methods/line_maps.py",
        "mean = values.mean(1)",
        "mean = values[:, 0]",
        "tests/methods/test_quadrature.py -k baselines",
    ),
    Mutant(
        "rules/max_pool.py",
        "scatter_add_(-1, i0, grad * time)",
        "scatter_add_(-1, i0, grad * (1 - time))",
        "tests/rules/test_max_and_where.py -k two_winners",
    ),
    Mutant("methods/quadrature.py", "return mean * path.direction", "return mean", "tests/methods/test_integrated_gradients.py -k captum"),
    Mutant(
        "methods/double_precision.py",
        "(~adds_up(found, ",
        "(adds_up(found).logical_and(torch.tensor(False)) & adds_up(found, ",
        "tests/methods/test_completeness.py -k again",
    ),
    Mutant(
        "methods/perturbation.py",
        "_lost(game, total - rest, base",
        "_lost(game, rest - total, base",
        "tests/methods/test_perturbation.py -k occlusion",
    ),
    Mutant(
        "methods/gradient.py",
        "values = torch.cat([slope * path.direction[rows]",
        "values = torch.cat([slope",
        "tests/methods/test_gradient_x_input.py",
    ),
    Mutant("methods/grad_cam.py", "slopes.flatten(2).mean(2)", "slopes.flatten(2).sum(2)", "tests/methods/test_grad_cam.py -k captum"),
    Mutant(
        "methods/secants.py",
        "tol * _tolerance_factors(coarse.sum(1), lines.together)",
        "tol * torch.ones(len(coarse))",
        "tests/methods/test_integrated_gradients.py -k know_their_mean",
    ),
    Mutant(
        "methods/secants.py",
        "/ counts**2.0).sum()",
        "/ counts**6.0).sum()",
        "tests/methods/test_integrated_gradients.py -k known_to_its",
    ),
    Mutant(
        "methods/perturbation.py",
        "manual_seed(self.seed)",
        "manual_seed(self.seed + id(game) % 1009)",
        "tests/test_same_numbers.py -k alone",
    ),
]
