"""Networks for people without one: autoencoders, plain or made sparse in training, and how they are trained."""

from vesalius.models.autoencoder import Autoencoder, AutoencoderSparsity
from vesalius.models.training import AutoencoderTraining, FittedAutoencoder, fit

__all__ = ["Autoencoder", "AutoencoderSparsity", "AutoencoderTraining", "FittedAutoencoder", "fit"]
