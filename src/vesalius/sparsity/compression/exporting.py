"""Pruned networks in files: weights alone, in few bytes; or the whole program, for PyTorch or ONNX."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from vesalius.core import store
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.sparsity.compression.candidates import to_picked_linear, to_sparse_linear
from vesalius.sparsity.compression.codec import read_sparse, save_sparse
from vesalius.sparsity.compression.sliced_graph import GraphModel
from vesalius.trace.export import NoGraph
from vesalius.trace.export import export_program as exported
from vesalius.trace.network import Network

FORMS: Mapping[str, Callable[[nn.Module], nn.Module | None]] = {
    "dense": lambda model: None,
    "picked": to_picked_linear,
    "csr": lambda model: to_sparse_linear(model, "csr"),
    "block": lambda model: to_sparse_linear(model, "block"),
}
"""Forms in which a file can be opened."""


def export(path: str | Path, model: nn.Module, network: Network) -> Path:
    """Write a pruned network to a file, under a temporary name first, then renamed.

    ``.safetensors`` holds weights alone, kept values and where they stand; read it with :func:`load_sparse`. ``.pt2`` and ``.onnx`` hold
    the program with a batch of any size, in eval semantics, its weights in dense matrices.

    Args:
        path: its suffix says which.
        model: without masks.
        network: traced from a model that is called in the same way.

    Returns:
        The path.

    Raises:
        InvalidInput: another suffix; a network loaded from a file; for ``.onnx`` a missing package; a model that does not export.
    """
    path = Path(path)
    if path.suffix not in WRITERS:
        raise InvalidInput(f"{path.name!r} ends with none of {', '.join(WRITERS)}; the suffix says what is written")
    return WRITERS[path.suffix](path, model, network)


def _write_weights(path: Path, model: nn.Module, network: Network) -> Path:
    if isinstance(model, GraphModel):
        raise InvalidInput(
            f"the smaller {network.name} has sizes that the model's own code writes down, so its weights alone are of no use;"
            " write the program: a path that ends with .pt2 or .onnx"
        )
    return save_sparse(path, model, facts={"name": network.name})


def _write_program(path: Path, model: nn.Module, network: Network) -> Path:
    content = io.BytesIO()
    torch.export.save(_export_program(model, network), content)
    return store.write_bytes(path, content.getvalue())


def _write_onnx(path: Path, model: nn.Module, network: Network) -> Path:
    if missing := [name for name in ("onnx", "onnxscript") if find_spec(name) is None]:
        raise InvalidInput(f"writing {path.name} needs {' and '.join(missing)}; install them with: pip install 'vesalius[onnx]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = _export_program(model, network)
        try:
            made = torch.onnx.export(program, dynamo=True, verbose=False)
        except Exception as error:  # PyTorch's exporter may fail in any way on an op
            raise InvalidInput(
                f"PyTorch cannot write the smaller {network.name} as ONNX ({type(error).__name__}); write a path that ends with .pt2"
            ) from error
    assert made is not None
    return store.write_bytes(path, made.model_proto.SerializeToString())


def _export_program(model: nn.Module, network: Network) -> torch.export.ExportedProgram:
    """The program, with a dynamic batch."""
    if network.call is None:
        raise InvalidInput(f"{network.name} was loaded from a file, and nothing says how its model is called; trace the model")
    call = replace(network.call, model=model)
    try:
        return exported(call, example_inputs(network))
    except NoGraph as error:
        raise InvalidInput(f"the smaller {network.name} does not export: {error.reason}") from error


def example_inputs(network: Network) -> tuple[Tensor, ...]:
    """Two samples of zeros."""
    home = next((tensor.device for tensor in network.parameters.values()), torch.device("cpu"))
    return tuple(
        torch.zeros(2, *(int(side or 1) for side in value.event), dtype=getattr(torch, value.dtype), device=home)
        for value in network.inputs
    )


WRITERS: Mapping[str, Callable[[Path, nn.Module, Network], Path]] = {
    ".safetensors": _write_weights,
    ".pt2": _write_program,
    ".onnx": _write_onnx,
}


@verb
def load_sparse(path: str | Path, model: nn.Module, *, form: str = "dense") -> nn.Module:
    """A copy of a model with the weights of a ``.safetensors`` file that ``export`` wrote; no code in it can run.

    Args:
        path: written by ``Sparsified.export`` or ``Compact.export``.
        model: of the architecture that was pruned, whatever its weights; layers that lost units become smaller.
        form: of the linear layers with few links: ``dense``, ``picked``, ``csr`` or ``block``; see
            :class:`vesalius.sparsity.Compact`.

    Raises:
        FileNotFoundError, ForeignFile: see :func:`vesalius.core.store.read`.
        InvalidInput: a model of another architecture.
        UnknownName: no such form.
    """
    require_known("form", form, FORMS)
    found = read_sparse(path, model)
    return FORMS[form](found) or found
