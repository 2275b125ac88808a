"""The tests can fail: with a piece of the library swapped for a wrong one, the tests named beside it must turn red.

Each mutant is a text replacement in a copy of the source, run against a few tests in a process of its own.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Mutant:
    """One wrong piece: in ``file``, ``old`` becomes ``new``, and some of ``tests`` must fail."""

    file: str
    old: str
    new: str
    tests: str


MUTANTS = [
    Mutant("core/allocation.py", "_exactly(self.total) - _exactly(self.base)", "_exactly(self.total)", "tests/core/test_allocation.py"),
    Mutant("core/reductions.py", "Fraction(1, t - s + 1)", "Fraction(1, (t - s + 1) ** 2)", "tests/core/test_allocation.py"),
    Mutant("core/players.py", "torch.where(_align", "torch.where(~_align", "tests/core/test_players.py"),
    Mutant("core/store.py", "os.replace(draft, path)", "path.write_bytes(draft.read_bytes()[:-1])", "tests/core/test_store.py"),
    Mutant("games/exact.py", "present -= absent", "present += absent", "tests/games/test_exact.py"),
    Mutant("games/game.py", "max(1, tried // 2)", "1", "tests/games/test_game.py -k halves"),
    Mutant("games/masked.py", "torch.stack(each).mean(0)", "each[0]", "tests/games/test_game.py"),
    Mutant("games/absence.py", "data.to(here.dtype).mean(0)", "data.to(here.dtype).amax(0)", "tests/games/test_game.py"),
    Mutant(
        "methods/quadrature.py",
        "half = np.diff(times) / 2",
        "half = np.diff(times) / 2.1",
        "tests/methods/test_integrated_gradients.py -k no_rule",
    ),
    Mutant("methods/quadrature.py", "return mean * path.direction", "return mean", "tests/methods/test_integrated_gradients.py -k captum"),
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
    Mutant(
        "methods/precisely.py",
        "(~closed(found))",
        "closed(found).logical_and(torch.tensor(False))",
        "tests/methods/test_completeness.py -k again",
    ),
    Mutant("methods/perturbation.py", "values=total - rest", "values=rest - total", "tests/methods/test_perturbation.py -k occlusion"),
    Mutant(
        "methods/gradient.py",
        "values = torch.cat([slope * path.direction[rows]",
        "values = torch.cat([slope",
        "tests/methods/test_gradient_x_input.py",
    ),
    Mutant("trace/question.py", "self.classes[rows]", "self.classes[: len(rows)]", "tests/methods/test_contract.py -k targets"),
    Mutant("trace/anatomy.py", "node not in reached and value", "value", "tests/trace/test_network.py"),
    Mutant("trace/functional.py", "node.target = _pure(node)", "pass", "tests/trace/test_functional.py"),
    Mutant("trace/calling.py", "module.training = False", "module.training = True", "tests/trace/test_zoo.py -k resnet"),
    Mutant("rules/series.py", "b[: k + 1].flip(0)", "b[: k + 1]", "tests/rules/test_jets.py -k attention"),
    Mutant("interactions/lines.py", "agrees if self.pieces else", "", "tests/interactions/test_taylor.py -k kink"),
    Mutant("interactions/weights.py", "[(1 - scale) * start", "[0 * start", "tests/interactions/test_weights.py -k x_input-baseline1"),
    Mutant("core/reductions.py", "comb(t - 1, k)", "comb(t, k)", "tests/core/test_reductions.py -k definition"),
    Mutant("core/reductions.py", "absent += present", "present += absent", "tests/core/test_reductions.py -k transforming"),
    Mutant("interactions/harsanyi.py", "(size <= max_order)", "(size < max_order)", "tests/interactions/test_harsanyi.py -k shorter"),
    Mutant("games/game.py", ".bool()).numpy()", ".bool()).neg().numpy()", "tests/interactions/test_shapiq.py -k same_values"),
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
    Mutant("methods/cam.py", "slopes.flatten(2).mean(2)", "slopes.flatten(2).sum(2)", "tests/methods/test_grad_cam.py -k captum"),
    Mutant("audit/principles.py", "masked_fill(membership", "masked_fill(~membership", "tests/audit/test_principles.py -k leak"),
    Mutant("audit/selectope.py", "against.flip(0)", "against", "tests/audit/test_selectope.py -k shortfall"),
    Mutant("audit/maps.py", "isinstance(method, SmoothGrad)", "False", "tests/audit/test_audit.py -k masked_model"),
    Mutant("audit/maps.py", "found if agree else", "found if True else", "tests/audit/test_audit.py -k believed"),
    Mutant(
        "interactions/taylor.py",
        "by_size @ found.dividends - effects.sum(1)",
        "by_size @ found.dividends",
        "tests/interactions/test_taylor.py -k profile",
    ),
    Mutant("interactions/harsanyi.py", "table[-1].clone()", "table[-1]", "tests/interactions/test_harsanyi.py -k add_up"),
    Mutant("interactions/lines.py", "long().cumprod(1).sum(1)", "long().sum(1)", "tests/interactions/test_taylor.py -k comes_back"),
    Mutant(
        "interactions/weights.py",
        "(times[fitted:, None] ** kappas)",
        "(times[fitted:, None] ** (kappas + 1))",
        "tests/interactions/test_weights.py -k known_weights",
    ),
    Mutant(
        "interactions/estimators/readoff.py",
        "twice / 4 + same)",
        "twice / 4)",
        "tests/interactions/test_estimators_readoff.py -k read_off",
    ),
    Mutant(
        "interactions/estimators/telling.py",
        "about=pairs",
        "about=Covariance.shapley",
        "tests/interactions/test_estimators_readoff.py -k collected",
    ),
    Mutant(
        "interactions/estimators/least_squares.py",
        "(total + base) / 2)]",
        "total / 2)]",
        "tests/interactions/test_estimators.py -k order_two",
    ),
    Mutant(
        "interactions/estimators/permutation.py",
        "torch.arange(1, players) != gap",
        "torch.arange(players - 1) != gap",
        "tests/interactions/test_estimators_readoff.py -k sweep",
    ),
    Mutant(
        "interactions/estimators/sparse.py",
        ".double().sqrt().repeat(2)",
        ".double().pow(0).repeat(2)",
        "tests/interactions/test_estimators.py -k sparse_errors",
    ),
    Mutant(
        "interactions/estimators/sparse.py",
        "unknown.flat - unknown.columns(members) @ dividends, unknown.flat",
        "known.flat - known.columns(members) @ dividends, known.flat",
        "tests/interactions/test_estimators.py -k sparse_does_not",
    ),
    Mutant(
        "interactions/estimators/pursuit.py",
        "2 * log(len(pool.members))",
        "0.0",
        "tests/interactions/test_estimators.py -k noise_begins",
    ),
    Mutant(
        "interactions/estimators/surrogate.py",
        "weights[some] / precision, 1 / precision",
        "weights[some], 1 / precision",
        "tests/interactions/test_estimators_readoff.py -k left_out",
    ),
    Mutant("audit/principles.py", "(1 + math.sqrt(2)) ** players_of(values)", "1.0", "tests/audit/test_principles.py -k single_precision"),
    Mutant("audit/setting.py", "target=int(classes[0])", "target=None", "tests/audit/test_audit.py -k that_class_too"),
    Mutant("audit/sampling.py", " / size.bincount()[size]", "", "tests/audit/test_audit.py -k every_size"),
    Mutant(
        "audit/faithfulness.py",
        "(~self.masks).double() @ values",
        "self.masks.double() @ values",
        "tests/audit/test_faithfulness.py -k true_map",
    ),
    Mutant("audit/selectope.py", "member - (-single).clamp_min(0)", "member", "tests/audit/test_selectope.py -k leaves_the_others"),
    Mutant("audit/contract.py", "values[:, 3], values[:, 4]", "values[:, 3], values[:, 3]", "tests/audit/test_contract.py -k Leaning"),
    Mutant(
        "audit/auditor.py",
        "second.error - first.error <= first.tolerance",
        "second.error == first.error",
        "tests/audit/test_audit.py -k share_a_rank",
    ),
    Mutant("rules/norms.py", "(a1 + a0) * (of_square", "2 * a1 * (of_square", "tests/rules/test_products.py -k norms_are_the_same"),
    Mutant("rules/norms.py", "x.reshape(len(x), groups, -1)", "x.reshape(len(x), 1, -1)", "tests/rules/test_products.py -k instance_norms"),
    Mutant(
        "methods/secants.py",
        "tol * _leeway(coarse.sum(1), lines.together)",
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
        "trace/network.py",
        'found is None or not agree(mine, found.graph("comparing"), dtype)',
        "found is None",
        "tests/trace/test_precision.py",
    ),
    Mutant("trace/question.py", "if classes is None else classes[rows]", "if True else classes[rows]", "tests/trace/test_question.py"),
    Mutant(
        "information/estimators/counts.py", "null.expected * filled", "null.expected * 0", "tests/information/test_estimators_binned.py"
    ),
    Mutant("information/estimators/counts.py", "(4 * a - b) / 3", "a + 0 * b", "tests/information/test_estimators_binned.py"),
    Mutant("information/estimators/independence.py", "(v1 - w1) * (v2 - w2)", "v1 * v2", "tests/information/test_estimators_binned.py"),
    Mutant(
        "information/estimators/units.py",
        "new = pooled.start[self.owner] + torch.where(within < bins, within // 2",
        "new = pooled.start[self.owner] + torch.where(within < bins, within // 4",
        "tests/information/test_estimators_binned.py",
    ),
    Mutant(
        "information/estimators/splits.py",
        "np.lexsort((draw[rest], column[rest]))",
        "np.argsort(column[rest], kind='stable')",
        "tests/information/test_estimators_neighbours.py",
    ),
    Mutant(
        "information/estimators/auto.py", "adjusted(screened.p) <= self.level", "screened.p <= 0", "tests/information/test_estimators.py"
    ),
    Mutant(
        "information/estimators/gaussian.py",
        "-0.5 * torch.log1p(-square) - null",
        "-0.5 * torch.log1p(-square) / 2 - null",
        "tests/information/test_estimators_gaussian.py",
    ),
    Mutant(
        "information/estimators/estimate.py",
        "np.minimum.accumulate(scaled.numpy())",
        "scaled.numpy()",
        "tests/information/test_graph_weighting.py",
    ),
    Mutant(
        "information/weighting.py",
        "shared.sum(1) / (live.sum() - 1).clamp_min(1)",
        "shared.sum(1) / len(live)",
        "tests/information/test_graph_weighting.py",
    ),
    Mutant(
        "information/weighting.py",
        "-torch.expm1(-2 * information.clamp_min(0))",
        "-torch.expm1(-information.clamp_min(0))",
        "tests/information/test_graph_weighting.py",
    ),
    Mutant(
        "information/centrality.py",
        "flow.reciprocal().clamp_max(LONGEST) for flow",
        "flow for flow",
        "tests/information/test_graph_centrality.py",
    ),
    Mutant(
        "information/paths.py",
        "best, place = best[:, :k], place[:, :k]",
        "best, place = best[:, :1], place[:, :1]",
        "tests/information/test_graph_paths.py",
    ),
    Mutant("information/communities.py", "1 / search.gamma", "search.gamma", "tests/information/test_graph_communities.py"),
    Mutant(
        "information/communities.py",
        "chance = rows * columns / everything if everything else 0.0",
        "chance = 0.0",
        "tests/information/test_graph_communities.py",
    ),
    Mutant("information/spare.py", ".triu(1)", ".triu(0)", "tests/information/test_graph_spare.py"),
    Mutant("information/pointwise.py", "inside_x + 1, inside_y + 1", "inside_x, inside_y + 1", "tests/information/test_pointwise.py"),
    Mutant("information/removal.py", "kept[order[:gone]] = False", "kept[order[gone:]] = False", "tests/information/test_removal.py"),
    Mutant(
        "information/behind.py", 'NORMS = frozenset({"batch_norm", "group_norm"})', "NORMS = frozenset()", "tests/information/test_sites.py"
    ),
    Mutant(
        "information/sites.py",
        "(spots[:, at % AXES] * side).long()",
        "(spots[:, 0] * side).long()",
        "tests/information/test_sites.py -k sampled",
    ),
    Mutant(
        "information/flow.py",
        "return torch.nn.functional.one_hot(labels).double()",
        "return labels[:, None].double()",
        "tests/information/test_flow.py -k true_classes",
    ),
    Mutant("complexity/exits.py", "self.gram / rows - a.T @ a / positions", "self.gram / rows", "tests/complexity/test_exits.py"),
    Mutant(
        "complexity/disentangle.py",
        "fall.mean() > SURE * fall.std() / len(fall) ** 0.5",
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
        "complexity/components.py",
        "pairs = [between[one, :, other].diagonal() for one, other in combinations(range(seeds), 2)]",
        "pairs = [between[one, :, one].diagonal() for one, other in combinations(range(seeds), 2)]",
        "tests/complexity/test_components.py",
    ),
    Mutant(
        "complexity/family.py",
        "torch.relu(norm(layer(units)) + units)",
        "torch.relu(norm(layer(units)))",
        "tests/complexity/test_family.py",
    ),
    Mutant("complexity/features.py", "if not split.context:", "if True:", "tests/complexity/test_features.py -k bypassed"),
    Mutant(
        "complexity/effectiveness.py",
        "return -_shapley(self.train)",
        "return _shapley(self.train)",
        "tests/complexity/test_effectiveness.py",
    ),
    Mutant(
        "complexity/effectiveness.py",
        "clear = useful.values.abs() >= 2 * useful.stderr.clamp_min",
        "clear = useful.values.abs() >= 0 * useful.stderr.clamp_min",
        "tests/complexity/test_effectiveness.py",
    ),
    Mutant("complexity/reliability.py", "(1 - how.threshold) * total - missed", "total - missed", "tests/complexity/test_reliability.py"),
    Mutant(
        "complexity/strength.py",
        "step_a, step_b, share = here_a - mean_a, here_b - mean_b, rows / (seen + rows)",
        "step_a, step_b, share = here_a - mean_a, here_b - mean_b, 0.5",
        "tests/complexity/test_strength.py",
    ),
    Mutant("complexity/replaced.py", "order <= orders", "order < orders", "tests/complexity/test_replaced.py"),
    Mutant(
        "complexity/compare.py",
        "(here.stderr.square() + first.stderr.square()).sqrt()",
        "here.stderr",
        "tests/complexity/test_compare.py -k difference",
    ),
    Mutant("views/groups.py", "value - 2 * error", "value - error", "tests/views/test_groups.py"),
    Mutant(
        "views/complexity/describe.py",
        "components.cumulative[:, at, channel]",
        "components.parts[:, at, channel]",
        "tests/views/complexity/test_section.py -k pictures",
    ),
]


def run(source, tests):
    """Outcome of some tests against a source tree."""
    environment = {**os.environ, "PYTHONPATH": f"{source}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests.split()]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.file}:{mutant.old[:30]}")
def test_a_wrong_piece_turns_a_test_red(mutant, tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src")
    path = tmp_path / "src" / "vesalius" / mutant.file
    text = path.read_text()
    assert text.count(mutant.old) == 1, "this mutant no longer has a place"
    path.write_text(text.replace(mutant.old, mutant.new))
    done = run(tmp_path / "src", mutant.tests)
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-1000:]


def test_without_a_mutation_the_same_tests_are_green(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src")
    done = run(tmp_path / "src", "tests/core/test_allocation.py tests/games/test_exact.py")
    assert done.returncode == 0, done.stdout[-2000:]
    where = subprocess.run(
        [sys.executable, "-c", "import vesalius; print(vesalius.__file__)"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(tmp_path) in where.stdout, "the tests ran against another copy"
