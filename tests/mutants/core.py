"""Wrong pieces of ``vesalius.core``."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant("core/allocation.py", "_exactly(self.total) - _exactly(self.base)", "_exactly(self.total)", "tests/core/test_allocation.py"),
    Mutant("core/reductions.py", "Fraction(1, t - s + 1)", "Fraction(1, (t - s + 1) ** 2)", "tests/core/test_allocation.py"),
    Mutant("core/players.py", "torch.where(_align", "torch.where(~_align", "tests/core/test_players.py"),
    Mutant("core/store.py", "os.replace(draft, path)", "path.write_bytes(draft.read_bytes()[:-1])", "tests/core/test_store.py"),
    Mutant("core/reductions.py", "comb(t - 1, k)", "comb(t, k)", "tests/core/test_reductions.py -k definition"),
    Mutant("core/reductions.py", "absent += present", "present += absent", "tests/core/test_reductions.py -k transforming"),
]
