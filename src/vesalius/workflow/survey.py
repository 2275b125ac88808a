"""What a model looks at over a whole data set: a survey in a folder, and a page about it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vesalius.core import store
from vesalius.core.entry import verb
from vesalius.core.options import Options
from vesalius.games.absence import Baseline
from vesalius.scale import Survey, SurveyOptions, SurveySummary
from vesalius.scale import survey as survey_rows
from vesalius.scale.method import SurveyMethod
from vesalius.trace import Network
from vesalius.trace.receive import receive
from vesalius.views.report import Report, report
from vesalius.views.style import method_name
from vesalius.workflow.explain import PAGE
from vesalius.workflow.samples import Samples
from vesalius.workflow.summary import describe_network

SHARDS = "survey"
"""Folder of the answers beside the page."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SurveyPageOptions(Options):
    """The options of :func:`survey` that few calls need.

    Attributes:
        survey: sizes of batches and shards, an inner value, resuming, Ray.
        title: of the page.
        reproduce: the command that makes the page again, shown on it.
    """

    survey: SurveyOptions = field(default_factory=SurveyOptions)
    title: str = ""
    reproduce: str = ""


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
    labels: Any = None,
    classes: Sequence[str] = (),
    options: SurveyPageOptions | None = None,
    tokenizer: Any = None,
) -> Report:
    """Ask one question of every row of a data set, and show what comes out on a page.

    Args:
        model, data, method, engine, target, baseline, labels, classes: as :func:`vesalius.scale.survey` takes them; data may also be
            :class:`~vesalius.workflow.samples.Samples`.
        out: folder for the page, ``summary.json``, and the survey, in a folder of its own.
        options: the rest.
        tokenizer: of the model, where the rows are texts.

    Returns:
        The page; ``vesalius.Survey.load(out / "survey")`` is the survey.

    Raises:
        As :func:`vesalius.scale.survey`.
    """
    options = options or SurveyPageOptions()
    folder = Path(out)
    if isinstance(data, Samples):
        labels = list(data.y.tolist() if data.y is not None else data.labels) or None if labels is None else labels
        classes = classes or (data.classes if data.ordered else ())
        model, data = receive(model, data.x).network, data.x
    began = time.monotonic()
    found = survey_rows(
        model,
        data,
        method,
        out=folder / SHARDS,
        engine=engine,
        target=target,
        baseline=baseline,
        labels=labels,
        classes=classes,
        options=options.survey,
        tokenizer=tokenizer,
    )
    seconds = time.monotonic() - began
    store.write_text(folder / "summary.json", json.dumps(_facts_of(found), indent=1) + "\n")
    facts = {"method": method_name(found.method), "rows": f"{len(found):,}", "made in": f"{seconds:.1f} s"}
    known = {"model": describe_network(model)} if isinstance(model, Network) else {}
    title = options.title or f"What {found.question['model']} looks at, over {len(found):,} rows"
    page = report([found], title=title, facts={**known, **facts}, reproduce=options.reproduce)
    page.save(folder / PAGE)
    return page


def _facts_of(found: Survey) -> dict[str, Any]:
    """What a survey comes to, as JSON: a summary of players or of tokens; of sums, that they are there."""
    if found.manifest.sums:
        return {"rows": len(found), "method": found.method}
    if not found.of_texts:
        return _summary_facts(found.summary())
    tokens = found.tokens()
    return {"texts": tokens.rows, "tokens": {str(name): asdict(one) for name, one in tokens.tokens.items()}}


def _summary_facts(summary: SurveySummary) -> dict[str, Any]:
    """A summary as JSON."""
    return {
        "rows": summary.importance.count,
        "names": list(summary.names),
        "mean |value|": summary.importance.mean.tolist(),
        "standard error": summary.importance.stderr.tolist(),
        "mean": summary.mean.mean.tolist(),
        "largest gap": summary.gap,
    }
