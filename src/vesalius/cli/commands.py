"""What each command does: the words and files of the command line as models, data and options, and one call of the workflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vesalius.cli.data_loading import DataOptions, load_samples, parse_names
from vesalius.cli.demo import Demo
from vesalius.cli.explain import Explain
from vesalius.cli.explore import Explore
from vesalius.cli.gallery import Gallery
from vesalius.cli.model_loading import ModelOptions, open_module, open_network
from vesalius.cli.sparsify import Sparsify
from vesalius.cli.survey import SurveyWords
from vesalius.cli.texts import load_tokenizer, read_texts
from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.core.progress import say
from vesalius.explorer import Explorer, ExplorerOptions
from vesalius.explorer import explore as open_explorer
from vesalius.scale import RayOptions, SurveyOptions
from vesalius.sparsity import Finetune, Pruning
from vesalius.workflow.complexity import MOST_ROWS
from vesalius.workflow.demo import demo as demonstrate
from vesalius.workflow.explain import PAGE, ExplainOptions, check_methods
from vesalius.workflow.explain import explain as explain_model
from vesalius.workflow.gallery import PAGE as GALLERY_PAGE
from vesalius.workflow.gallery import gallery as make_gallery
from vesalius.workflow.job import BASELINE_WORDS
from vesalius.workflow.samples import Samples, choose_rows
from vesalius.workflow.sparsify import SparsifyOptions
from vesalius.workflow.sparsify import sparsify as sparsify_model
from vesalius.workflow.survey import SurveyPageOptions
from vesalius.workflow.survey import survey as survey_model

BACKGROUND_PREFIX = "rows:"


def explain(words: Explain, command: str) -> Path:
    """``vesalius explain``; returns where the page is."""
    methods = split_names(words.methods)
    check_methods(methods)
    if words.tokenizer is not None or words.text is not None or words.generate is not None or words.data.suffix in (".txt", ".jsonl"):
        return _explain_texts(words, methods, command)
    of_rows = words.baseline.startswith(BACKGROUND_PREFIX)
    if not of_rows:
        require_known("baseline", words.baseline, (*BASELINE_WORDS, f"{BACKGROUND_PREFIX}0:20"))
    reading = DataOptions(
        rows=words.rows,
        label=words.label,
        labels=words.labels,
        names=words.names,
        features=words.features,
        mean=words.baseline == "mean",
        background=words.baseline.removeprefix(BACKGROUND_PREFIX) if of_rows else "",
        flow=words.flow,
        whole=MOST_ROWS if words.complexity else 0,
    )
    samples = load_samples(words.data, _with_pictures(reading, words, words.data))
    opening = _model_options(words)
    options = ExplainOptions(
        at=words.at,
        players=words.players,
        audit=words.audit,
        complexity=words.complexity or None,
        train=None if words.train is None else _training_samples(words, words.train),
        tol=words.tol,
        budget=words.budget,
        seed=words.seed,
        reproduce=command,
    )
    network = open_network(words.model, samples.x, opening)
    baseline = None if of_rows else words.baseline
    explain_model(network, samples, methods=methods, target=words.target, baseline=baseline, out=words.out, options=options)
    return words.out / PAGE


def _explain_texts(words: Explain, methods: Sequence[str], command: str) -> Path:
    """``vesalius explain`` of texts."""
    where = _require_tokenizer(words)
    _refuse_options_of_rows(words, ("audit", "flow", "complexity", "at", "train", "size", "resize", "crop", "normalize", "output"))
    texts, labels = read_texts(words.data, words.text, words.label)
    tokenizer = load_tokenizer(where)
    model = open_module(words.model, _model_options(words))
    explain_model(
        model,
        texts,
        methods=list(methods),
        rows=words.rows,
        target=_text_target(words.target),
        baseline=None if words.baseline == "zero" else words.baseline,
        labels=labels,
        classes=parse_names(words.names),
        out=words.out,
        options=ExplainOptions(players=words.players, tol=words.tol, budget=words.budget, seed=words.seed, reproduce=command),
        tokenizer=tokenizer,
        generate=words.generate,
    )
    return words.out / PAGE


def _text_target(words: str) -> str | int | None:
    """A class or a token by number or name; the predicted one by default."""
    if words == "predicted":
        return None
    if words == "true":
        raise InvalidInput("--target true is for rows of numbers; for texts name a class or a token, or leave it out for the predicted one")
    return int(words) if words.isdigit() else words


def sparsify(words: Sparsify, command: str) -> Path:
    """``vesalius sparsify``; returns where the page is."""
    samples = _pruning_samples(words, words.data)
    opening = _model_options(words)
    finetune = Finetune(epochs=words.finetune, seed=words.seed) if words.finetune else None
    pruning = Pruning(layers=words.layers or None, score=words.score, finetune=finetune, seed=words.seed)
    options = SparsifyOptions(pruning=pruning, shape=_parse_shape(words.shape), write=words.write, reproduce=command)
    network = open_network(words.model, samples.x, opening)
    amount = {"sparsity": words.sparsity} if words.level is None else {"importance_level": words.level}
    test = None if words.test is None else _pruning_samples(words, words.test)
    sparsify_model(network, samples, **amount, mode=words.mode, test=test, out=words.out, options=options)
    return words.out / PAGE


def survey(words: SurveyWords, command: str) -> Path:
    """``vesalius survey``; returns where the page is."""
    require_known("baseline", words.baseline, BASELINE_WORDS)
    reading = DataOptions(rows=":", label=words.label, labels=words.labels, names=words.names, features=words.features)
    samples = load_samples(words.data, _with_pictures(reading, words, words.data))
    network = open_network(words.model, samples.x, _model_options(words))
    rows = SurveyOptions(at=words.at, names=samples.features, batch_rows=words.batch, ray=RayOptions(workers=words.workers))
    survey_model(
        network,
        samples,
        words.method,
        target=_parse_target(words.target),
        baseline=words.baseline,
        engine=words.engine,
        out=words.out,
        options=SurveyPageOptions(survey=rows, reproduce=command),
    )
    return words.out / PAGE


def _parse_target(text: str) -> str | int | None:
    return None if text == "predicted" else int(text) if text.isdecimal() else text


def explore(words: Explore, command: str) -> str:
    """``vesalius explore``; returns when it is stopped."""
    with open_explorers(words) as explorer:
        say("open this address in a browser of this machine; Ctrl-C ends the explorer, and a new one has another address")
        print(explorer.address, flush=True)
        try:
            explorer.wait()
        except KeyboardInterrupt:
            return "the explorer is closed"
    return "the explorer is closed"


def open_explorers(words: Explore) -> Explorer:
    """The explorer that the words ask for, listening."""
    options = ExplorerOptions(port=words.port, seconds=words.seconds, titles=[one for one in (words.model, words.beside) if one])
    if words.beside is None and words.beside_weights is not None:
        raise InvalidInput("--beside-weights are of a second model; name it with --beside")
    others = replace(_model_options(words), weights=words.beside_weights)
    if words.tokenizer is not None or words.text is not None or words.data.suffix in (".txt", ".jsonl"):
        return _explore_texts(words, options, others)
    reading = DataOptions(rows=words.rows, label=words.label, labels=words.labels, names=words.names, features=words.features)
    samples = load_samples(words.data, _with_pictures(reading, words, words.data))
    network = open_network(words.model, samples.x, _model_options(words))
    beside = None if words.beside is None else open_network(words.beside, samples.x, others)
    return open_explorer(network, samples, beside=beside, options=options)


def _explore_texts(words: Explore, options: ExplorerOptions, others: ModelOptions) -> Explorer:
    _refuse_options_of_rows(words, ("size", "resize", "crop", "normalize", "output", "labels", "features"))
    texts, labels = read_texts(words.data, words.text, words.label)
    tokenizer = load_tokenizer(_require_tokenizer(words))
    rows = choose_rows(words.rows, len(texts))
    chosen = None if labels is None else [labels[row] for row in rows]
    options = replace(options, labels=chosen, classes=parse_names(words.names))
    model = open_module(words.model, _model_options(words))
    beside = None if words.beside is None else open_module(words.beside, others)
    return open_explorer(model, [texts[row] for row in rows], beside=beside, tokenizer=tokenizer, options=options)


def _require_tokenizer(words: Explain | Explore) -> Path:
    if words.tokenizer is None:
        raise InvalidInput(
            f"the texts in {words.data} are words, and a model takes ids of them; give --tokenizer tokenizer.json or a folder"
        )
    return words.tokenizer


def _refuse_options_of_rows(words: Explain | Explore, names: Sequence[str]) -> None:
    for option in names:
        if getattr(words, option):
            raise InvalidInput(f"--{option} is for rows of numbers or pictures; leave it out for texts")


def gallery(words: Gallery, command: str) -> Path:
    """``vesalius gallery``; returns where the page is."""
    make_gallery(
        methods=split_names(words.methods) or None,
        examples=split_names(words.examples) or None,
        cache=words.cache,
        out=words.out,
        reproduce=command,
    )
    return words.out / GALLERY_PAGE


def demo(words: Demo, command: str) -> Path:
    """``vesalius demo``; returns where the page is."""
    demonstrate(words.out, cache=words.cache)
    return words.out / PAGE


def _model_options(words: Explain | Explore | Sparsify | SurveyWords) -> ModelOptions:
    return ModelOptions(weights=words.weights, output=words.output, normalize=words.normalize, trust=words.trust, device=words.device)


def _training_samples(words: Explain, path: Path) -> Samples:
    options = DataOptions(rows=f":{MOST_ROWS}", label=words.label, names=words.names, features=words.features)
    return load_samples(path, _with_pictures(options, words, path))


def _pruning_samples(words: Sparsify, path: Path) -> Samples:
    return load_samples(path, _with_pictures(DataOptions(rows=":", label=words.label, names=words.names), words, path))


def _with_pictures(options: DataOptions, words: Explain | Explore | Sparsify | SurveyWords, path: Path) -> DataOptions:
    """Options with what is done to pictures; other rows than DATA's may be in a file, which needs no size where DATA is a folder."""
    sized = path == words.data or path.is_dir()
    options = replace(options, normalize=words.normalize)
    return replace(options, size=words.size, resize=words.resize, crop=words.crop) if sized else options


def split_names(words: Sequence[str]) -> list[str]:
    """Names separated by spaces or commas."""
    return [name for word in words for name in word.split(",") if name]


def _parse_shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(side) for side in text.split(","))
    except ValueError as error:
        raise InvalidInput(f"--shape {text!r} is not height,width or channels,height,width") from error
