"""Models of any kind as callables on tensors, and the ways in which rows may be meant as their inputs."""

from vesalius.inputs.onnx import from_onnx

__all__ = ["from_onnx"]
