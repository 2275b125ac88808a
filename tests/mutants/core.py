"""Wrong pieces of ``vesalius.core``."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant(
        "core/allocation.py", "_to_float64(self.total) - _to_float64(self.base)", "_to_float64(self.total)", "tests/core/test_allocation.py"
    ),
    Mutant("core/interaction_indices.py", "Fraction(1, t - s + 1)", "Fraction(1, (t - s + 1) ** 2)", "tests/core/test_allocation.py"),
    Mutant("core/players.py", "torch.where(mask, here, gone)", "torch.where(mask, gone, here)", "tests/core/test_players.py"),
    Mutant("core/store.py", "os.replace(draft, target)", "target.write_bytes(draft.read_bytes()[:-1])", "tests/core/test_store.py"),
    Mutant("core/interaction_indices.py", "comb(t - 1, k)", "comb(t, k)", "tests/core/test_interaction_indices.py -k definition"),
    Mutant(
        "core/interaction_indices.py", "absent += present", "present += absent", "tests/core/test_interaction_indices.py -k transforming"
    ),
    Mutant("core/samples.py", "(rows < -count) | (rows >= count)", "rows >= count", "tests/core/test_samples.py -k refused"),
    Mutant("core/samples.py", "[own[row] for row in rows.tolist()]", "list(own)", "tests/core/test_samples.py -k several"),
    Mutant("core/conversion.py", "owned.nonzero().flatten()", "owner[owned]", "tests/core/test_conversion.py -k order"),
    Mutant("core/conversion.py", "players.gather(parts) / sizes", "players.gather(parts)", "tests/core/test_conversion.py -k paid_once"),
    Mutant("core/store.py", "if not isinstance(found, kind) or", "if False and", "tests/test_files.py -k another_type"),
    Mutant("core/store.py", 'set(header["tensors"]) - set(tensors)', "set()", "tests/test_files.py -k tensor_that_is_missing"),
    Mutant("core/near_ties.py", "not first - value <= width", "True", "tests/core/test_near_ties.py"),
    Mutant(
        "core/store.py",
        'metadata.get("digest") != file_digest(metadata["vesalius"], tensors)',
        "False",
        "tests/core/test_store.py -k noticed",
    ),
    Mutant("core/store.py", "os.path.realpath(path)", "path", "tests/core/test_store.py -k link_stays"),
    Mutant(
        "core/tokenization.py",
        "both[len(before) :] if whole",
        "both[len(before) + 1 :] if whole",
        "tests/core/test_text_division.py -k puts",
    ),
    Mutant("core/text_division.py", "BYSTANDER if special else count", "count", "tests/core/test_text_division.py -k bystanders"),
    Mutant(
        "language/targets.py", "output[:, -count - 1 : -1]", "output[:, -count:]", "tests/language/test_targets.py -k what_they_are_called"
    ),
    Mutant("games/network_game.py", "= absence.alone", "= 0", "tests/language/test_targets.py -k continuation_of_nothing"),
    Mutant(
        "methods/texts.py",
        "BystandersPresent(absence, players) if owned",
        "absence if owned",
        "tests/language/test_targets.py -k stay_as_they_are",
    ),
]
