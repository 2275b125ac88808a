"""Wrong pieces of ``vesalius.scale``."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant(
        "scale/statistics.py", "+ np.square(apart) * (self.count * other.count / count)", "", "tests/scale/test_statistics.py -k merged"
    ),
    Mutant("scale/statistics.py", "np.where(rows < 0, -place, place)", "place", "tests/scale/test_statistics.py -k accurate"),
    Mutant("scale/folder.py", "own != (key, shard.data, shard.start, shard.rows)", "False", "tests/scale/test_survey.py -k foreign"),
    Mutant("scale/run.py", "elif shard.data == block.digest():", "elif True:", "tests/scale/test_resume.py -k changed_question"),
    Mutant(
        "scale/stream.py", "slice(self.block_rows, count)", "slice(self.block_rows, count - 1)", "tests/scale/test_survey.py -k every_form"
    ),
]
