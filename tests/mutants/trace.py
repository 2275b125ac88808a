"""Wrong pieces of ``vesalius.trace``."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant("trace/target.py", "self.positions[rows]", "self.positions[: len(rows)]", "tests/methods/test_contract.py -k targets"),
    Mutant("trace/graph.py", "node not in reached and value", "value", "tests/trace/test_network.py"),
    Mutant("trace/copying.py", "**_take(shared_names(model_graph, call), copied)", "", "tests/test_copies.py -k tied"),
    Mutant("trace/copying.py", "name in own and _is_same_memory(tensor, own[name])", "False", "tests/test_copies.py -k tied"),
    Mutant("trace/functionalize.py", "node.target = _pure_op(node)", "pass", "tests/trace/test_functionalize.py"),
    Mutant("trace/signature.py", "module.training = False", "module.training = True", "tests/trace/test_zoo.py -k resnet"),
    Mutant(
        "trace/network.py",
        'found is None or not parameters_match(mine, found.graph("comparing"), dtype)',
        "found is None",
        "tests/trace/test_precision.py",
    ),
    Mutant(
        "trace/question.py", "if positions is None else positions[rows]", "if True else positions[rows]", "tests/trace/test_question.py"
    ),
]
