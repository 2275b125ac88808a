"""Results into the tools that runs are kept in: TensorBoard, MLflow, Weights & Biases, and callbacks of Lightning."""

from vesalius.logging.lightning import epoch_callback
from vesalius.logging.log import log

__all__ = ["epoch_callback", "log"]
