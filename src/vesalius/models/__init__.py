"""Networks for people without one: autoencoders, plain or made sparse in training, and how they are trained."""

from vesalius.models.autoencoder import Autoencoder, Sparse
from vesalius.models.training import Fitted, Training, fit

__all__ = ["Autoencoder", "Fitted", "Sparse", "Training", "fit"]
