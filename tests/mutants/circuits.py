"""Wrong pieces of what finds and patches circuits."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant(
        "trace/edge_graph.py", "cut = (1 - gates[:, list(edges)])", "cut = (gates[:, list(edges)])", "tests/circuits/test_known_circuits.py"
    ),
    Mutant("trace/gated_sites.py", "(1 - gate) * absent", "gate * absent", "tests/circuits/test_parity.py -k attribution_patching"),
    Mutant("trace/attention.py", "return layout.axis + shared", "return layout.axis", "tests/circuits/test_inside.py -k bmm"),
    Mutant(
        "circuits/edge_attribution.py",
        "moved = [(b + a - c)",
        "moved = [b + 0 * (a - c)",
        "tests/circuits/test_parity.py -k eap_ig",
    ),
    Mutant("circuits/logits.py", "if self.record:", "if True:", "tests/circuits/test_parity.py -k direct_logits"),
    Mutant("circuits/acdc.py", "abs().mean()) < threshold", "abs().mean()) > threshold", "tests/circuits/test_known_circuits.py -k acdc"),
    Mutant("trace/experts.py", "gate = own.gather(1,", "gate = 1 - 0 * own.gather(1,", "tests/circuits/test_experts.py"),
]
