"""Multi-layer perceptrons of scikit-learn, alone or at the end of a pipeline, as the networks they are; other estimators as functions.

What a network puts out are logits (of two classes: 0 for the first and the log-odds of the second), of which ``predict_proba`` is the
softmax. Nothing of scikit-learn is imported: attributes of fitted estimators say all that is needed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from vesalius.core.errors import InvalidInput, WrongType

Weights = tuple[np.ndarray[Any, np.dtype[Any]], ...]
ACTIVATIONS = {"identity": nn.Identity, "relu": nn.ReLU, "tanh": nn.Tanh, "logistic": nn.Sigmoid}


def convert_estimator(model: Any) -> tuple[nn.Module, Weights] | None:
    """An estimator as a network, and the arrays it was made of; ``None`` where it is no network.

    Args:
        model: fitted; ``MLPClassifier``, ``MLPRegressor``, or a pipeline of scalers (and PCA) that ends in one.

    Raises:
        InvalidInput: it is not fitted.
    """
    steps = [step for _, step in model.steps] if hasattr(model, "steps") else [model]
    last = steps[-1]
    if type(last).__name__ not in ("MLPClassifier", "MLPRegressor"):
        return None
    if not hasattr(last, "coefs_"):
        raise InvalidInput(f"the {type(last).__name__} is not fitted; call fit(X, y) first")
    before = [_linear_step(step) for step in steps[:-1] if step not in (None, "passthrough")]
    if any(found is None for found in before):
        return None
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    dtype = torch.from_numpy(last.coefs_[0]).dtype
    maps = [found for found in before if found is not None]
    for place, (name, scale, shift) in enumerate(maps):
        layers[name if name not in layers else f"{name}_{place}"] = _linear(scale, shift, dtype)
    for place, (weight, bias) in enumerate(zip(last.coefs_, last.intercepts_, strict=True)):
        final = place == len(last.coefs_) - 1
        if final and hasattr(last, "classes_") and weight.shape[1] == 1:
            weight, bias = np.hstack([np.zeros_like(weight), weight]), np.hstack([np.zeros_like(bias), bias])
        layers[f"layer{place}"] = _linear(weight, bias, dtype)
        if not final:
            layers[f"activation{place}"] = ACTIVATIONS[last.activation]()
    arrays = (*last.coefs_, *last.intercepts_, *(array for step in steps[:-1] for array in _arrays(step)))
    return nn.Sequential(layers).eval(), arrays


def output_function(model: Any) -> Callable[..., Any]:
    """What of an estimator is explained: probabilities of classes, else the decision function, else the prediction.

    Raises:
        WrongType: a classifier that only names classes.
    """
    for name in ("predict_proba", "decision_function"):
        if hasattr(model, name):
            found: Callable[..., Any] = getattr(model, name)
            return found
    if hasattr(model, "classes_"):
        raise WrongType(f"{type(model).__name__} names classes without a number for each; it needs predict_proba or decision_function")
    predict: Callable[..., Any] = model.predict
    return predict


def _linear(weight: np.ndarray[Any, np.dtype[Any]], bias: np.ndarray[Any, np.dtype[Any]], dtype: torch.dtype) -> nn.Linear:
    """A layer x @ weight + bias."""
    inputs, outputs = weight.shape
    layer = nn.Linear(inputs, outputs, dtype=dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight.T)))
        layer.bias.copy_(torch.from_numpy(np.asarray(bias)))
    return layer.requires_grad_(False)


def _linear_step(step: Any) -> tuple[str, np.ndarray[Any, np.dtype[Any]], np.ndarray[Any, np.dtype[Any]]] | None:
    """A step of a pipeline as x @ weight + bias, with a name; ``None`` if it is not linear."""
    kind = type(step).__name__
    if kind == "StandardScaler":
        scale = np.ones(step.n_features_in_) if step.scale_ is None else step.scale_
        mean = np.zeros(step.n_features_in_) if step.mean_ is None else step.mean_
        return "scaler", np.diag(1 / scale), -mean / scale
    if kind == "MinMaxScaler" and not step.clip:
        return "scaler", np.diag(step.scale_), step.min_
    if kind == "MaxAbsScaler":
        return "scaler", np.diag(1 / step.scale_), np.zeros(step.n_features_in_)
    if kind == "RobustScaler":
        scale = np.ones(step.n_features_in_) if step.scale_ is None else step.scale_
        centre = np.zeros(step.n_features_in_) if step.center_ is None else step.center_
        return "scaler", np.diag(1 / scale), -centre / scale
    if kind == "PCA":
        rotation = step.components_.T / (np.sqrt(step.explained_variance_) if step.whiten else 1)
        return "pca", rotation, -step.mean_ @ rotation
    return None


def _arrays(step: Any) -> Sequence[np.ndarray[Any, np.dtype[Any]]]:
    return [value for value in vars(step).values() if isinstance(value, np.ndarray)] if hasattr(step, "__dict__") else []
