"""The specimens, one line each."""

from __future__ import annotations

import torch

from . import arithmetic, attention, cifar, convolutional, dense, huggingface, recurrent, sequence, vision
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
    Specimen("pre_norm", grown(attention.PreNormEncoder, 19), floats(6, 4)),
    Specimen("sequence_first", grown(attention.SequenceFirst, 20), floats(6, 4)),
    Specimen("rotary", grown(attention.RotaryDecoder, 21), floats(6, 4)),
    Specimen("causal", grown(attention.CausalGPT, 22), floats(6, 4)),
    Specimen("einsum", grown(attention.EinsumAttention, 23), floats(6, 4)),
    Specimen("stacked_gru", grown(recurrent.StackedGRU, 24), floats(6, 4)),
    Specimen("bilstm", grown(recurrent.BidirectionalLSTM, 25), floats(6, 4)),
    Specimen("rnn", grown(recurrent.ElmanRNN, 26), floats(6, 4)),
    Specimen("group_norm", grown(vision.GroupNormNet, 27), images(3, 8)),
    Specimen("instance_norm", grown(vision.InstanceNormNet, 28), images(3, 8)),
    Specimen("gated_conv", grown(vision.GatedConvNet, 29), floats(6, 4)),
    Specimen("mobilenet_v3", grown(vision.MobileNetV3, 30), images(3, 16)),
    Specimen("upsampler", grown(vision.Upsampler, 31), images(3, 6)),
    Specimen("conv1d", grown(vision.Conv1dNet, 32), floats(2, 16)),
    Specimen("conv3d", grown(vision.Conv3dNet, 33), floats(1, 4, 6, 6)),
    Specimen("where_gate", grown(arithmetic.WhereGate, 34), floats(8)),
    Specimen("extremes", grown(arithmetic.Extremes, 35), floats(6, 4)),
    Specimen("log_probabilities", grown(arithmetic.LogProbabilities, 36), floats(10)),
    Specimen("mixture", grown(arithmetic.Mixture, 37), floats(6)),
    Specimen("running_average", grown(arithmetic.RunningAverage, 38), floats(6, 4)),
    Specimen("statistics_pooling", grown(arithmetic.StatisticsPooling, 39), floats(6, 4)),
    Specimen("activations", grown(arithmetic.Activations, 40), floats(6)),
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
