"""All that the answers of a survey depend on, described as JSON, so that a folder is taken up by the same question alone."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import torch

from vesalius.complexity.components import Complexity
from vesalius.complexity.result_file import result_contents
from vesalius.core import store
from vesalius.core.errors import InvalidInput
from vesalius.core.fingerprint import json_description
from vesalius.core.options import Options
from vesalius.core.version import VERSION
from vesalius.games.absence import Absence
from vesalius.methods import Method
from vesalius.scale.folder import read_manifest
from vesalius.scale.stream import RowBlock
from vesalius.scale.task import SurveyTask
from vesalius.scale.texts import describe_tokenizer, text_outputs
from vesalius.trace.network import Network

SAMPLE_ROWS = 4
"""Rows on which the output is remembered."""
CLOSE = 1e-3
"""Share of the largest output within which two runs of the same code agree, on whatever processor."""
ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def describe_question(network: Network, task: SurveyTask, shard_rows: int) -> dict[str, Any]:
    """What is asked, of which network."""
    return {
        "method": method_name(task.method),
        "options": _describe(task.method),
        "target": _describe(task.target),
        "baseline": _describe(task.baseline),
        "players": _describe(task.players),
        "at": _describe(task.at),
        **({} if task.tokenizer is None else {"tokenizer": describe_tokenizer(task.tokenizer)}),
        "names": list(task.names),
        "classes": list(task.classes),
        "model": network.name,
        "parameters": network.digest(),
        "graph": _graph_digest(network),
        "batch_rows": task.batch_rows,
        "shard_rows": shard_rows,
        "keep_inputs": task.keep_inputs,
        "versions": {"vesalius": VERSION, "torch": str(torch.__version__)},
    }


def question_key(question: Mapping[str, Any]) -> str:
    """A digest of it."""
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:32]


def sample_output(network: Network, block: RowBlock, tokenizer: Any = None) -> list[float]:
    """The network's output on the first rows."""
    if block.texts:
        output = text_outputs(network, block.texts[:1], tokenizer)
        return [] if output is None else list(output.double().reshape(-1)[:64].tolist())
    homes = network.devices
    inputs = tuple(tensor[:SAMPLE_ROWS].to(homes[0]) if len(homes) == 1 else tensor[:SAMPLE_ROWS] for tensor in block.inputs)
    with torch.no_grad():
        found: list[float] = network.run(inputs).detach().cpu().double().reshape(-1)[:64].tolist()
    return found


def check_same(found: Mapping[str, Any], asked: Mapping[str, Any], folder: object) -> None:
    """Refuse to go on with another question than the one that was begun.

    Raises:
        InvalidInput: something differs.
    """
    names = list(dict.fromkeys([*asked, *found]))
    changed = [name for name in names if found.get(name) != asked.get(name)]
    if changed:
        said = "; ".join(f"{name}: {_short(found.get(name))} there, {_short(asked.get(name))} now" for name in changed[:4])
        raise InvalidInput(
            f"{folder} holds a survey of another question ({said}); ask the same, name another folder with out=, or begin anew with"
            " SurveyOptions(resume=False)"
        )


def check_folder(folder: Path, question: Mapping[str, Any]) -> None:
    """Refuse a folder that holds a survey of another question, before anything is settled for this one.

    Raises:
        InvalidInput: something differs.
    """
    try:
        found = read_manifest(folder)
    except FileNotFoundError:
        return
    check_same({name: value for name, value in found.question.items() if name != "plan"}, question, folder)


def check_same_output(found: Sequence[float], now: Sequence[float], folder: object) -> None:
    """Refuse to go on with a model that computes something else, or with other first rows.

    Raises:
        InvalidInput: the outputs differ by more than two processors would make them.
    """
    before, after = np.array(found, float), np.array(now, float)
    size = max(1e-30, float(np.abs(before[np.isfinite(before)]).max(initial=0.0)))
    if before.shape != after.shape or not np.allclose(before, after, rtol=0, atol=CLOSE * size, equal_nan=True):
        raise InvalidInput(
            f"the model's output on the first rows is not what it was when the survey in {folder} was begun: the model's code or the data"
            " changed; name another folder with out=, or begin anew with SurveyOptions(resume=False)"
        )


def method_name(method: Any) -> str:
    """What a method is called, be it one of ours or a function of the caller's."""
    name = getattr(method, "name", None)
    return name if isinstance(name, str) else str(getattr(_innermost(method), "__name__", type(method).__name__))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _describe(value: Any) -> Any:
    """A value as JSON, the same in every process."""
    if isinstance(value, Complexity):
        tensors, facts = result_contents(value)
        return store.file_digest(store.json_text(facts), {name: tensor.detach().cpu() for name, tensor in tensors.items()})
    if isinstance(value, (Method, Options)):
        return {field.name: _describe(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Absence):
        return {"kind": type(value).__name__, **{name: _describe(part) for name, part in sorted(vars(value).items())}}
    if isinstance(value, (FunctionType, partial)):
        return _describe_function(value)
    if isinstance(value, Mapping):
        return {str(name): _describe(part) for name, part in value.items()}
    if isinstance(value, type):
        return value.__qualname__
    if isinstance(value, (tuple, list)):
        return [_describe(part) for part in value]
    found = json_description(value)
    return ADDRESS.sub("", found) if isinstance(found, str) else found


def _innermost(function: Any) -> Any:
    while isinstance(function, partial):
        function = function.func
    return function


def _describe_function(function: Any) -> list[str]:
    """A function by its name and a digest of its code; what it reads from elsewhere is not seen."""
    inner = _innermost(function)
    code = getattr(inner, "__code__", None)
    said = "" if code is None else ADDRESS.sub("", repr((code.co_code, code.co_names, code.co_consts)))
    return [getattr(inner, "__module__", ""), getattr(inner, "__qualname__", repr(inner)), hashlib.sha256(said.encode()).hexdigest()[:16]]


def _graph_digest(network: Network) -> str:
    """A digest of what the network computes; empty where that is unknown."""
    if network.model_graph is None:
        return ""
    nodes = [(node.op, str(node.target), str(node.args), str(node.kwargs)) for node in network.model_graph.graph.nodes]
    return hashlib.sha256(json.dumps(nodes).encode()).hexdigest()[:16]
