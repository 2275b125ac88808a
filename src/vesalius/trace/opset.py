"""Which family every op of the graph belongs to, and so which kind of rule it will need.

*zero*: no relevance passes (comparisons, integer results, constants made from sizes); *linear* in its traced input; *bilinear* in two
traced inputs; *elementwise* non-linear; *select*: passes some elements on, chosen by value; *normalise*: mixes an axis non-linearly;
*reshape*: moves elements; *composite*: kept whole because that is how users and libraries write it, to be decomposed by a rule engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.fx import Node

FAMILIES: dict[str, frozenset[str]] = {
    "zero": frozenset(
        "arange zeros ones full zeros_like ones_like full_like empty new_zeros new_ones new_full eye scalar_tensor argmax argmin sign eq ne"
        " lt le gt ge logical_not logical_and logical_or and or xor bitwise_not bitwise_and bitwise_or floor ceil round isnan isinf any all"
        " floor_divide sym_size tril_indices triu_indices one_hot bucketize searchsorted".split()
    ),
    "linear": frozenset(
        "linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d addmm add sub rsub neg mean sum cumsum"
        " avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d"
        " upsample_nearest1d upsample_nearest2d upsample_bilinear2d embedding batch_norm _native_batch_norm_legit_no_training dropout"
        " dropout_ feature_dropout alpha_dropout lerp trace diagonal diag tril triu lift_fresh_copy detach _to_copy to type_as"
        " convolution native_dropout".split()
    ),
    "bilinear": frozenset("mul matmul mm bmm baddbmm dot mv einsum div outer".split()),
    "elementwise": frozenset(
        "relu gelu silu sigmoid tanh exp log log1p expm1 sqrt rsqrt reciprocal pow square abs softplus elu selu celu leaky_relu prelu"
        " hardtanh hardswish hardsigmoid relu6 mish erf sin cos tan logsigmoid clamp clamp_min clamp_max hardshrink softshrink tanhshrink"
        " log_sigmoid log2 log10 nan_to_num remainder fmod rrelu threshold atan".split()
    ),
    "select": frozenset(
        "max_pool1d max_pool2d max_pool3d max_pool2d_with_indices adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d max min amax"
        " amin maximum minimum where topk sort median masked_fill kthvalue aminmax".split()
    ),
    "normalise": frozenset(
        "softmax _softmax log_softmax _log_softmax layer_norm native_layer_norm group_norm native_group_norm instance_norm rms_norm"
        " logsumexp norm linalg_vector_norm var std var_mean std_mean cosine_similarity".split()
    ),
    "reshape": frozenset(
        "view reshape flatten unflatten unsqueeze squeeze transpose permute t expand expand_as contiguous clone slice select"
        " index gather index_select cat concat stack split split_with_sizes chunk unbind pad constant_pad_nd reflection_pad2d"
        " replication_pad2d roll flip repeat repeat_interleave narrow movedim swapaxes getitem alias pixel_shuffle"
        " pixel_unshuffle unfold view_as reshape_as mT broadcast_to slice_scatter select_scatter copy take_along_dim tile"
        " _unsafe_view _reshape_alias numpy_T im2col index_put masked_select scatter fill masked_scatter".split()
    ),
    "composite": frozenset(
        "scaled_dot_product_attention lstm gru rnn_tanh rnn_relu multi_head_attention_forward bilinear glu addcmul addcdiv"
        " logaddexp".split()
    ),
}

PARAMETRISED_OPS = frozenset("linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d addmm embedding".split())
"""Linear ops with a weight; bilinear where the weight depends on the inputs too."""

KINKED_OPS = frozenset(
    "relu relu6 leaky_relu prelu rrelu hardtanh hardswish hardsigmoid hardshrink softshrink threshold abs max_pool1d max_pool2d max_pool3d"
    " max_pool2d_with_indices adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d max min amax amin maximum minimum fmax fmin topk"
    " sort msort median nanmedian kthvalue aminmax cummax cummin max_unpool2d max_unpool3d rnn_relu detach".split()
)
"""Ops whose slope jumps, or is not the function's, so often that no rule for smooth functions converges."""

SMOOTH_OPS = frozenset(
    "gelu silu sigmoid tanh exp exp2 log log1p expm1 sqrt rsqrt reciprocal pow square softplus mish erf erfc sin cos tan sinh cosh"
    " asinh atan logsigmoid log_sigmoid log_sigmoid_forward log2 log10 tanhshrink softmax log_softmax _safe_softmax layer_norm"
    " native_layer_norm group_norm native_group_norm instance_norm rms_norm _fused_rms_norm logsumexp norm linalg_vector_norm var std"
    " var_mean std_mean cosine_similarity scaled_dot_product_attention lstm gru rnn_tanh multi_head_attention_forward bilinear glu"
    " addcmul addcdiv logaddexp prod cumprod".split()
)
"""Non-linear ops that are analytic where they are defined."""

SINGULAR_OPS = frozenset(
    "layer_norm native_layer_norm group_norm native_group_norm instance_norm rms_norm _fused_rms_norm norm linalg_vector_norm var std"
    " var_mean std_mean cosine_similarity div reciprocal rsqrt sqrt pow log log2 log10 logit addcdiv".split()
)
"""Ops with a point, at or near 0, about which they change within any distance, however short."""

VIEW_OPS = frozenset(
    "view reshape flatten unflatten unsqueeze squeeze transpose permute t expand expand_as contiguous slice select split split_with_sizes"
    " chunk unbind narrow movedim swapaxes getitem alias detach view_as mT broadcast_to diagonal unfold numpy_T to type_as dropout"
    " _reshape_alias".split()
)
"""Ops whose result may share memory with their input."""

READABLE_NAMES = {
    "_native_batch_norm_legit_no_training": "batch_norm",
    "native_layer_norm": "layer_norm",
    "native_group_norm": "group_norm",
    "scaled_dot_product_attention": "attention",
    "_softmax": "softmax",
    "_log_softmax": "log_softmax",
    "_to_copy": "to",
    "_unsafe_view": "view",
    "max_pool2d_with_indices": "max_pool2d",
}


ALIASES = {
    **{f"arc{name}": f"a{name}" for name in "cos cosh sin sinh tan tan2 tanh".split()},
    "absolute": "abs",
    "clip": "clamp",
    "concat": "cat",
    "concatenate": "cat",
    "divide": "div",
    "true_divide": "div",
    "multiply": "mul",
    "negative": "neg",
    "subtract": "sub",
    "fix": "trunc",
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
    "not_equal": "ne",
    "ger": "outer",
    "linalg_matmul": "matmul",
    "moveaxis": "movedim",
    "swapdims": "swapaxes",
    "unsafe_split": "split",
    "unsafe_chunk": "chunk",
    "unsafe_split_with_sizes": "split_with_sizes",
    "matrix_H": "mH",
    "special_expit": "sigmoid",
    "special_gammaln": "lgamma",
    "special_psi": "digamma",
    **{
        f"special_{name}": name
        for name in "digamma erf erfc erfinv exp2 expm1 i0 log1p log_softmax logit logsumexp polygamma round sinc softmax xlogy".split()
    },
    **{f"{name}_copy": name for name in "alias as_strided diagonal expand narrow permute split_with_sizes".split()},
    **{f"{name}_copy": name for name in "squeeze t transpose unbind unfold unsqueeze view".split()},
}
"""Second names of aten's ops, with the same arguments, that an exported graph keeps."""


def base_op_name(target: Callable[..., Any]) -> str:
    """Name of an op without namespace and overload: ``conv2d`` for ``torch.ops.aten.conv2d.default``."""
    if isinstance(target, torch._ops.OpOverload):
        return str(target._schema.name).split("::")[1]
    return str(getattr(target, "__name__", target))


def readable_op_name(target: Callable[..., Any]) -> str:
    """Name of an op as a user knows it, in-place marks dropped."""
    name = base_op_name(target)
    return READABLE_NAMES.get(name, name.strip("_") if name.startswith("__") else name.rstrip("_"))


def op_family(target: Callable[..., Any]) -> str:
    """Family of an op, or ``unknown``."""
    name = base_op_name(target).rstrip("_").removeprefix("__")
    name = ALIASES.get(name, name)
    return next((kind for kind, names in FAMILIES.items() if name in names), "unknown")


def resolve_family(kind: str, op: str, varying: Sequence[bool]) -> str:
    """Family of an op in its place: a product with a constant is linear, what no input reaches is ``zero``.

    Args:
        kind: family of the op in general.
        op: its readable name.
        varying: per tensor argument, whether it depends on the inputs.
    """
    if not any(varying):
        return "zero"
    if kind == "bilinear" and sum(varying) == 1:
        return "elementwise" if op == "div" and not varying[0] else "linear"
    if kind == "linear" and op in PARAMETRISED_OPS and any(varying[1:]):
        return "bilinear"
    return kind


def is_view(target: Callable[..., Any]) -> bool:
    """Whether the result may share memory with the first argument."""
    return base_op_name(target) in VIEW_OPS


def is_inplace(target: Callable[..., Any]) -> bool:
    """Whether the op writes into its first argument."""
    return isinstance(target, torch._ops.OpOverload) and base_op_name(target).endswith("_") and target._schema.is_mutable


def draws_random_numbers(node: Node) -> bool:
    """Whether an op draws random numbers; dropout and the like do not in evaluation."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload) or torch.Tag.nondeterministic_seeded not in target.tags:
        return False
    given = dict(zip([one.name for one in target._schema.arguments], node.args, strict=False)) | node.kwargs
    share = given.get("dropout_p", given.get("p"))
    off = given.get("train", given.get("training")) is False or share == 0
    return not off and not ("dropout_p" in [one.name for one in target._schema.arguments] and share is None)
