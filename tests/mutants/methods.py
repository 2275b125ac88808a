"""Wrong pieces of ``vesalius.methods``."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant(
        "methods/quadrature.py",
        "half = np.diff(times) / 2",
        "half = np.diff(times) / 2.1",
        "tests/methods/test_integrated_gradients.py -k no_rule",
    ),
    Mutant("methods/quadrature.py", "return mean * path.direction", "return mean", "tests/methods/test_integrated_gradients.py -k captum"),
    Mutant(
        "methods/double_precision.py",
        "(~adds_up(found))",
        "adds_up(found).logical_and(torch.tensor(False))",
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
        "/ counts**3.0).sum()",
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
