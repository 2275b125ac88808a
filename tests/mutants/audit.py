"""Wrong pieces of ``vesalius.audit``."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant("audit/principles.py", "masked_fill(membership", "masked_fill(~membership", "tests/audit/test_principles.py -k leak"),
    Mutant("audit/selectope.py", "against.flip(0)", "against", "tests/audit/test_selectope.py -k shortfall"),
    Mutant("audit/masked_attributions.py", "isinstance(method, SmoothGrad)", "False", "tests/audit/test_audit.py -k masked_model"),
    Mutant("audit/masked_attributions.py", "found if agree else", "found if True else", "tests/audit/test_audit.py -k believed"),
    Mutant(
        "audit/principles.py", "(1 + math.sqrt(2)) ** player_count(values)", "1.0", "tests/audit/test_principles.py -k single_precision"
    ),
    Mutant("audit/problem.py", "target=tuple(positions[0].tolist())", "target=None", "tests/audit/test_audit.py -k that_class_too"),
    Mutant("audit/stratified_sampling.py", " / size.bincount()[size]", "", "tests/audit/test_audit.py -k every_size"),
    Mutant(
        "audit/faithfulness.py",
        "(~self.masks).double() @ values",
        "self.masks.double() @ values",
        "tests/audit/test_faithfulness.py -k true_map",
    ),
    Mutant("audit/selectope.py", "member - (-single).clamp_min(0)", "member", "tests/audit/test_selectope.py -k leaves_the_others"),
    Mutant("audit/contract.py", "values[:, 3], values[:, 4]", "values[:, 3], values[:, 3]", "tests/audit/test_contract.py -k Leaning"),
    Mutant(
        "audit/tiers.py",
        "second.error - first.error <= first.tolerance",
        "second.error == first.error",
        "tests/audit/test_audit.py -k share_a_rank",
    ),
]
