"""A small autoencoder to look into."""

from __future__ import annotations

import hashlib

from vesalius.core.version import VERSION
from vesalius.models.autoencoder import Autoencoder
from vesalius.models.training import AutoencoderTraining

DIGITS_TRAINING = AutoencoderTraining(epochs=100, batch=64, rate=1e-2, patience=20)
"""How :func:`digits_autoencoder` is trained on the digits of scikit-learn; seconds."""


def digits_autoencoder() -> Autoencoder:
    """64-32-16-32-64, for digits of 8 x 8 pixels in 0..1; not trained."""
    return Autoencoder([64, 32, 16])


def recipe_digest() -> str:
    """A name for what training makes of it: of this version, with these options."""
    return hashlib.sha256(f"{VERSION} {DIGITS_TRAINING}".encode()).hexdigest()[:12]
