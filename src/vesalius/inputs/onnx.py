"""Models from ONNX files, as modules of torch, by onnx2torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from vesalius.core.entry import verb
from vesalius.core.errors import ForeignFile, InvalidInput


@verb
def from_onnx(model: str | Path | Any) -> nn.Module:
    """An ONNX model as a module in eval mode, whose ops are those of torch, so that it is traced and explained as any other.

    Args:
        model: a file, or a ``ModelProto``.

    Returns:
        The module; its weights are copies.

    Raises:
        FileNotFoundError: there is no such file.
        ForeignFile: it is damaged, or has an operator that onnx2torch does not know.
        InvalidInput: onnx or onnx2torch is not installed.
    """
    try:
        import onnx
        import onnx2torch
    except ImportError as error:
        raise InvalidInput(f"reading ONNX needs onnx and onnx2torch ({error}): pip install 'vesalius[onnx2torch]'") from error
    given = model
    if isinstance(model, (str, Path)):
        if not Path(model).is_file():
            raise FileNotFoundError(f"there is no file {model}")
        try:
            given = onnx.load(str(model))
        except Exception as error:  # the parser of protobuf raises what the bytes lead it to
            raise ForeignFile(f"{model} cannot be read as ONNX ({' '.join(str(error).split())[:160]})") from error
    try:
        found: nn.Module = onnx2torch.convert(given)
    except (NotImplementedError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ForeignFile(f"this ONNX model is not known to onnx2torch ({reason}); give the model's own code instead") from error
    return found.eval()
