"""The tests can fail: with a piece of the library swapped for a wrong one, the tests named beside it must turn red.

Each mutant is a text replacement in a copy of the source, run against a few tests in a process of its own.
"""

import shutil

import pytest

from tests.mutants import MUTANTS
from tests.mutants.running import ROOT, run

pytestmark = pytest.mark.slow


@pytest.fixture
def copied(tmp_path):
    return shutil.copytree(ROOT / "src", tmp_path / "src")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.file}:{mutant.old[:30]}")
def test_a_wrong_piece_turns_a_test_red(mutant, copied, tmp_path):
    path = copied / "vesalius" / mutant.file
    text = path.read_text()
    assert text.count(mutant.old) == 1, "this mutant no longer has a place"
    path.write_text(text.replace(mutant.old, mutant.new))
    done = run(copied, mutant.tests, tmp_path / "out.txt")
    assert done.code == 1, done.text[-3000:]


def test_without_a_mutation_the_same_tests_are_green(copied, tmp_path):
    done = run(copied, "tests/core/test_allocation.py tests/games/test_moebius.py", tmp_path / "out.txt")
    assert done.code == 0, done.text[-3000:]
    assert done.text.startswith(str(copied)), "the tests ran against another copy"
