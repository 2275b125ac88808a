"""Wrong pieces of ``vesalius.trace``."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant("trace/number_reads.py", "known = not depends or", "known = True or", "tests/trace/test_number_reads.py -k EarlyExit"),
    Mutant("trace/inline.py", "_mark(region.graph, GRADIENTS, bool(node.args[0]))", "pass", "tests/trace/test_regions.py -k frozen"),
    Mutant(
        "trace/any_length.py",
        "all(evaluate_size(one, lengths) for one in self.conditions)",
        "True",
        "tests/trace/test_any_length.py -k condition",
    ),
    Mutant(
        "trace/other_lengths.py",
        "if True in outcomes and False not in outcomes",
        "if True",
        "tests/trace/test_any_length.py -k TellsExport",
    ),
    Mutant("trace/vocabulary.py", "int(found.max()) >= rows", "int(found.max()) > rows", "tests/trace/test_any_length.py -k beyond"),
    Mutant("trace/open_program.py", "if side == size]", "if side != size]", "tests/trace/test_open_program.py -k length"),
    Mutant("trace/sizes.py", '"//": operator.floordiv', '"//": operator.mul', "tests/trace/test_any_length.py -k convolution"),
    Mutant(
        "trace/mixing.py",
        "evaluate(rows)) for rows in runs)",
        "evaluate(rows)) for rows in runs[:1])",
        "tests/trace/test_observe.py -k rounding",
    ),
    Mutant("trace/batch_norm.py", "grad.stride() == strides", "True", "tests/trace/test_batch_norm.py"),
    Mutant(
        "trace/functionalize.py",
        "_argument_types(twin := getattr(op, name)) == _argument_types(overload)",
        "(twin := getattr(op, name))",
        "tests/trace/test_functionalize.py -k power",
    ),
    Mutant("trace/graph.py", "    take_any_strides(graph)\n    return", "    return", "tests/trace/test_any_place.py"),
    Mutant("trace/sites.py", "(inputs[0], node, inputs[1])", "(inputs[0], inputs[1], node)", "tests/trace/test_sites.py -k likewise"),
    Mutant("trace/sites.py", "here & self.kept", "here | self.kept", "tests/trace/test_sites.py -k sampled"),
    Mutant("trace/vocabulary.py", "high < lookup.rows", "high <= lookup.rows", "tests/trace/test_vocabulary.py -k named"),
    Mutant("trace/default_inputs.py", '"mask" in name.lower()', "False", "tests/trace/test_default_inputs.py -k before_them"),
    Mutant("trace/binding.py", "not bool((tensor.to(given.dtype) == given).all())", "False", "tests/trace/test_vocabulary.py -k wrap"),
    Mutant("trace/safe_ops.py", "if reason := impurity(found):", "if reason := '':", "tests/trace/test_safe_ops.py -k pure_function"),
    Mutant(
        "trace/safe_ops.py", "not set(kwargs) <= set(names[len(args) :])", "False", "tests/trace/test_safe_ops.py -k names_of_arguments"
    ),
    Mutant("trace/rehearsal.py", "max(sizes, default=0) > self.most", "False", "tests/trace/test_safe_ops.py -k fills_the_memory"),
    Mutant("trace/target.py", "self.positions[rows]", "self.positions[: len(rows)]", "tests/methods/test_contract.py -k targets"),
    Mutant("trace/graph.py", "node not in reached and value", "value", "tests/trace/test_network.py"),
    Mutant("trace/copying.py", "**_take(shared_names(model_graph, call), copied)", "", "tests/test_copies.py -k tied"),
    Mutant("trace/copying.py", "name in own and _is_same_memory(tensor, own[name])", "False", "tests/test_copies.py -k tied"),
    Mutant("trace/functionalize.py", "node.target = _pure_op(node)", "pass", "tests/trace/test_functionalize.py"),
    Mutant(
        "trace/structural_copy.py", 'namespace["training"] = False', 'namespace["training"] = True', "tests/trace/test_zoo.py -k resnet"
    ),
    Mutant(
        "trace/structural_copy.py", "**dict.fromkeys(CONTAINERS, self._container),", "", "tests/trace/test_untouched.py -k 'dict and list'"
    ),
    Mutant(
        "trace/observe.py",
        "if not is_close(alone, both[row : row + 1]):",
        "if False:",
        "tests/trace/test_observe.py -k depend_on_each_other",
    ),
    Mutant("trace/write_guard.py", "raise WritesToWeights", "pass", "tests/trace/test_untouched.py -k 'writes or maximum'"),
    Mutant("core/entry.py", "stack.enter_context(torch.enable_grad())", "pass", "tests/test_modes.py"),
    Mutant(
        "trace/network.py",
        'found is None or not parameters_match(mine, found.graph("comparing"), dtype)',
        "found is None",
        "tests/trace/test_precision.py",
    ),
    Mutant(
        "trace/question.py", "if positions is None else positions[rows]", "if True else positions[rows]", "tests/trace/test_question.py"
    ),
    Mutant("core/rows.py", " and not any(data.null_count().row(0))", "", "tests/core/test_rows.py -k missing"),
    Mutant("core/rows.py", "and not isinstance(batch[0], (tuple, list, Mapping))", "", "tests/core/test_rows.py -k labels_are_told"),
    Mutant("inputs/scikit_learn.py", "np.diag(1 / scale), -mean / scale", "np.diag(scale), -mean / scale", "tests/inputs -k perceptron"),
    Mutant(
        "inputs/models.py",
        "return any(isinstance(part, SEQUENCE_MODULES)",
        "return False and any(isinstance(part, SEQUENCE_MODULES)",
        "tests/inputs/test_models.py -k also_be",
    ),
    Mutant(
        "trace/receive.py",
        "return self.features if set(places)",
        "return self.features if True or set(places)",
        "tests/test_first_calls.py -k columns",
    ),
    Mutant("trace/remembered.py", "_state(_own_attributes(module))", "0", "tests/trace/test_remembered.py -k as_it_is"),
    Mutant(
        "trace/trace.py",
        "if network.reason not in (GRAPH_DISAGREES, GRADIENT_MODE, RANDOM):",
        "if True:",
        "tests/trace/test_remembered.py -k differ",
    ),
    Mutant("trace/target.py", "FAR = 100.0", "FAR = 0.0", "tests/trace/test_target.py -k bent"),
    Mutant("trace/compose.py", "None if found.opaque else found", "found", "tests/trace/test_compose.py -k refused"),
    Mutant(
        "games/absence.py", "and len(first) > 1 and", "and len(first) > 99 and", "tests/methods/test_reference_methods.py -k every_kind"
    ),
]
