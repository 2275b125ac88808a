"""One question, asked of every row of a data set, however long; written as it goes, and taken up where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vesalius.core.entry import verb
from vesalius.core.errors import ForeignFile, InvalidInput
from vesalius.core.names import require_known
from vesalius.core.progress import ProgressCallback, progress_bar
from vesalius.games.absence import Baseline
from vesalius.scale.aggregate import Aggregate, Answers, PlanRows, SumPlan
from vesalius.scale.folder import Manifest, Shard, clear, clear_drafts, find_intact, locked, make_folder, read_manifest, save_shard
from vesalius.scale.local_engine import run_here
from vesalius.scale.method import SurveyMethod
from vesalius.scale.options import SurveyOptions
from vesalius.scale.prepare import AskedOfRows, prepare_survey
from vesalius.scale.question import check_folder, check_same, check_same_output, describe_question, question_key, sample_output
from vesalius.scale.ray_engine import run_on_ray
from vesalius.scale.result import Survey
from vesalius.scale.stream import RowBlock, RowStream
from vesalius.scale.task import SurveyTask
from vesalius.trace.network import Network
from vesalius.trace.text_questions import TextPlayers

ENGINES: dict[str, Callable[..., Iterator[tuple[RowBlock, Answers]]]] = {"local": run_here, "ray": run_on_ray}
"""Who computes the blocks."""


@verb
def survey(  # noqa: PLR0913 - a verb that users call
    model: Any,
    data: Any,
    method: SurveyMethod = "integrated_gradients",
    *,
    out: str | Path,
    engine: str = "local",
    target: Any = None,
    baseline: Baseline = None,
    players: TextPlayers = None,
    labels: Any = None,
    columns: Mapping[str, Any] | None = None,
    classes: Sequence[str] = (),
    options: SurveyOptions | None = None,
    tokenizer: Any = None,  # a tenth, since all verbs that take texts have it
) -> Survey:
    """Ask one question of every row of a data set: streamed, written in shards, and taken up where it stopped.

    Memory does not grow with the data. A row's values do not depend on the rows beside it, but for rounding, and the places where shards
    and batches are cut depend on the options alone: whatever the engine and the number of interruptions, the numbers are the same.

    Args:
        model: as every verb takes it. Its output for an input must not differ from call to call.
        data: rows in any form; a Dataset, a DataLoader that does not shuffle, or an iterable of batches, of any length. Labels are kept.
        method: an attribution by name, class or instance; ``"interactions"`` or ``Dividends(max_order=2)``; or a function that is given the
            inputs of some rows (a tensor, or tensors by name) and gives an :class:`vesalius.Allocation` over them. A function is known
            by its name and code alone: what it reads from elsewhere is not noticed when it changes; what it draws from torch's generator
            depends on the place of its first row. Or a sum over rows, whose shards hold sums and whose :meth:`vesalius.Survey.result` is
            that of the verb: ``"audit"``, ``"information_flow"``, ``"link_importance"``, or with options
            :class:`vesalius.scale.Audits`, :class:`vesalius.scale.InformationFlow`, :class:`vesalius.scale.LinkImportances`; or a result
            of :func:`vesalius.complexity`, whose disentanglers are measured on all rows.
        out: folder of the survey. What is there already is not computed again; what was computed for another model, other rows or other
            options is refused.
        engine: ``"local"``, or ``"ray"``: actors on the cluster this process is connected to, or that ``RAY_ADDRESS`` names; else on this
            machine, started and stopped here.
        target: ``None``: the predicted class of each row; ``"true"``: its label; a class by number or name; a class for each row; or as
            :func:`vesalius.attribute` takes it.
        baseline: as :func:`vesalius.attribute` takes it; ``"mean"`` is that of all rows, for which the data is gone through once more.
        players: who is paid.
        labels: one per row, numbers or words, or the name of a column of a table.
        columns: what else is known of each row, by name, to choose rows and cohorts by.
        classes: names of the classes in the output's order, where neither the data nor the model has them.
        options: sizes of batches and shards, an inner value, resuming, Ray.
        tokenizer: of the model, as :func:`vesalius.attribute` takes it; then the rows are texts of any length: a list or column of
            strings, or a Dataset, DataLoader or iterable of them, with or without labels. ``players="word"`` explains words. A pipeline of
            ``transformers`` in place of the model has its own.

    Returns:
        The survey, which reads from its folder what it is asked for.

    Raises:
        UnknownName, InvalidInput, WrongType, NotTraceable: each with what to do; what is finished stays.
    """
    require_known("engine", engine, ENGINES)
    options = options or SurveyOptions()
    asked = AskedOfRows(
        target=target, baseline=baseline, players=players, labels=labels, columns=columns, classes=classes, options=options,
        tokenizer=tokenizer,
    )  # fmt: skip
    network, task, stream = prepare_survey(model, data, method, asked)
    folder = make_folder(out)
    with locked(folder):
        _Run(folder, network, task, stream, options).finish(engine)
    return Survey.load(folder)


@dataclass(frozen=True, eq=False)
class _Run:
    """A survey under way, in a folder that is locked.

    Attributes:
        folder: where.
        network: whose output is explained.
        task: what is asked.
        stream: of what.
        options: how.
    """

    folder: Path
    network: Network
    task: SurveyTask
    stream: RowStream
    options: SurveyOptions

    def finish(self, engine: str) -> None:
        """Compute what is missing, and write down that it is all there."""
        if not self.options.resume:
            clear(self.folder)
        clear_drafts(self.folder)
        question = describe_question(self.network, self.task, self.stream.block_rows)
        task = self.task
        if isinstance(task.method, Aggregate):
            check_folder(self.folder, question)
            plan = self._plan(task.method, question_key(question))
            task, question = replace(task, plan=plan), {**question, "plan": plan.digest()}
        key = question_key(question)
        done: dict[int, Shard] = {}
        blocks = self._missing(question, key, done)
        with progress_bar(f"survey, {question['method'].replace('_', ' ')}") as step:
            for block, answers in ENGINES[engine](self.network, task, blocks, self.options.ray):
                done[block.start] = save_shard(self.folder, answers, key, block.start, block.digest())
                self._report(step, done)
        shards = tuple(shard for _, shard in sorted(done.items()))
        replace(read_manifest(self.folder), shards=shards).write(self.folder)

    def _plan(self, method: Aggregate, key: str) -> SumPlan:
        """What all shards share: as it was settled when the survey was begun."""
        try:
            found, question = SumPlan.load(self.folder)
            if question == key:
                return found
        except (FileNotFoundError, ForeignFile):
            pass
        rows = self.stream.sample(method.sample) if method.settled else None
        given = PlanRows(network=self.network, rows=rows, classes=self.task.classes, names=tuple(self.task.names))
        found = method.plan(given)
        found.save(self.folder, key)
        return found

    def _report(self, step: ProgressCallback, done: Mapping[int, Shard]) -> None:
        step(sum(shard.rows for shard in done.values()), self.stream.expected)

    def _missing(self, question: Mapping[str, Any], key: str, done: dict[int, Shard]) -> Iterator[RowBlock]:
        """Blocks whose answers are not there; what is there is put among what is done, once its rows are known to be the same."""
        kept: dict[int, Shard] = {}
        for block in self.stream:
            if not block.start:
                self._begin(question, key, block)
                kept = find_intact(self.folder, key, sums="plan" in question)
            shard = kept.pop(block.start, None)
            if shard is None:
                yield block
            elif shard.data == block.digest():
                done[block.start] = shard
            else:
                self._refuse_rows(block)
        if kept:
            raise InvalidInput(
                f"{self.folder} holds answers for rows from {min(kept):,} on, which the data does not have any more; name another folder"
                " with out=, or begin anew with SurveyOptions(resume=False)"
            )

    def _refuse_rows(self, block: RowBlock) -> None:
        raise InvalidInput(
            f"rows {block.start:,} to {block.start + len(block) - 1:,}, or their labels, are not those that {self.folder} holds the answers"
            " of; keep the data in one order (no shuffling), name another folder with out=, or begin anew with SurveyOptions(resume=False)"
        )

    def _begin(self, question: Mapping[str, Any], key: str, block: RowBlock) -> None:
        """Write down what is asked, or make sure that it was asked before."""
        sample = sample_output(self.network, block, self.task.tokenizer)
        try:
            found = read_manifest(self.folder)
        except FileNotFoundError:
            Manifest(question=question, key=key, sample=sample).write(self.folder)
            return
        check_same(found.question, {**question, "plan": found.question.get("plan")} if "plan" in question else question, self.folder)
        if found.key != key:
            replace(found, question=question, key=key, shards=None).write(self.folder)  # the plan was lost, and made again
        check_same_output(found.sample, sample, self.folder)
