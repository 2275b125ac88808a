"""The specimens, one line each."""

from __future__ import annotations

import torch

from . import cifar, convolutional, dense, huggingface, sequence
from .specimen import Inputs, Specimen, coloured, floats, grown, images, normal


def _image_and_row(batch: int, dtype: torch.dtype, generator: torch.Generator) -> Inputs:
    return (coloured(batch, 3, 8, dtype, generator), normal((batch, 7), dtype, generator)), {}


SPECIMENS: tuple[Specimen, ...] = (
    Specimen("mlp", grown(dense.MLP, 1), floats(6, 6)),
    Specimen("two_input", grown(dense.TwoInput, 2), _image_and_row),
    Specimen("tied_autoencoder", grown(dense.TiedAutoencoder, 3), floats(12), classes=12),
    Specimen("norm_first", grown(dense.NormFirst, 4), floats(10)),
    Specimen("branching", grown(dense.Branching, 5), floats(8), exportable=False),
    Specimen("cnn", grown(convolutional.CNN, 6), images(1, 16)),
    Specimen("resnet", grown(convolutional.ResNet, 7, gain=2), images(3, 16)),
    Specimen("mbconv", grown(convolutional.MBConvNet, 8), images(3, 16)),
    Specimen("unet", grown(convolutional.UNet, 9), images(3, 8)),
    Specimen("resnet20", grown(cifar.ResNet20, 10, gain=1.7), images(3, 16), classes=10),
    Specimen("lstm", grown(sequence.LSTMClassifier, 11, gain=4), floats(6, 4)),
    Specimen("gru", grown(sequence.GRUClassifier, 12), floats(6, 4)),
    Specimen("attention", grown(sequence.AttentionNet, 13), floats(6, 4)),
    Specimen("encoder", grown(sequence.EncoderClassifier, 14), floats(6, 4)),
    Specimen("vit", grown(sequence.ViT, 15), images(3, 8)),
    Specimen("bert", grown(huggingface.bert, 16, gain=1), huggingface.masked_ids, "logits", integer_at="bert.embeddings.word_embeddings"),
    Specimen("gpt2", grown(huggingface.gpt2, 17, gain=1), huggingface.padded_ids, "logits", integer_at="transformer.wte"),
    Specimen("hf_vit", grown(huggingface.vit, 18, gain=1), images(3, 8), "logits"),
)


def specimen(name: str) -> Specimen:
    """The specimen of that name.

    Raises:
        KeyError: naming all specimens, if there is none.
    """
    for candidate in SPECIMENS:
        if candidate.name == name:
            return candidate
    raise KeyError(f"no specimen {name!r}; there are {', '.join(s.name for s in SPECIMENS)}")
