"""Which kind of rule an op takes. A table of rules is written per kind, never per op."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import torch

from vesalius.trace.opset import ALIASES, base_op_name

OPS_BY_KIND: Mapping[str, str] = {
    # made from sizes alone: no relevance
    "shape": "zeros_like ones_like full_like empty_like rand_like new_zeros new_ones new_full new_empty sym_size arange zeros ones"
    " full zero empty eye scalar_tensor tril_indices triu_indices",
    # elements moved, summed or averaged with fixed weights >= 0
    "move": "view reshape flatten unflatten unsqueeze squeeze transpose permute t expand expand_as contiguous clone slice select"
    " index gather index_select cat concat stack split split_with_sizes chunk unbind pad constant_pad_nd reflection_pad1d"
    " reflection_pad2d replication_pad1d replication_pad2d roll flip repeat repeat_interleave narrow movedim swapaxes"
    " getitem alias pixel_shuffle pixel_unshuffle channel_shuffle unfold view_as reshape_as mT broadcast_to slice_scatter"
    " select_scatter copy take_along_dim tile _unsafe_view _reshape_alias numpy_T im2col col2im index_put scatter diagonal"
    " diag tril triu trace lift_fresh_copy _to_copy to type_as dropout feature_dropout alpha_dropout native_dropout identity"
    " mean sum cumsum avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d"
    " _adaptive_avg_pool2d _adaptive_avg_pool3d upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d"
    " upsample_bilinear2d upsample_trilinear3d _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d"
    " scatter_add index_add index_copy index_fill fill diagonal_scatter diag_embed as_strided as_strided_scatter"
    " broadcast_tensors positive lift lift_fresh",
    # the value as it is, without its gradient
    "detach": "detach",
    # linear with weights of any sign, complex numbers among them
    "transform": "fft_fft fft_fft2 fft_fftn fft_ifft fft_ifft2 fft_ifftn fft_rfft fft_rfft2 fft_rfftn fft_irfft fft_irfft2 fft_irfftn"
    " fft_hfft fft_hfft2 fft_hfftn fft_ihfft fft_ihfft2 fft_ihfftn _fft_r2c _fft_c2c _fft_c2r real imag view_as_real"
    " view_as_complex complex _conj conj conj_physical resolve_conj resolve_neg embedding_bag _embedding_bag upsample_bicubic2d"
    " _upsample_bicubic2d_aa _upsample_bilinear2d_aa grid_sampler grid_sampler_2d grid_sampler_3d"
    " linalg_solve_triangular triangular_solve cholesky_solve linalg_lu_solve",
    "add": "add sub rsub",
    "scale": "neg",
    # a weight that no input reaches times a value; two values where the inputs reach both
    "map": "linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution addmm baddbmm mm bmm matmul"
    " mv dot outer einsum",
    "multiply": "mul",
    "divide": "div",
    "affine": "batch_norm _native_batch_norm_legit_no_training",
    "elementwise": "relu gelu silu sigmoid tanh exp exp2 log log1p expm1 sqrt rsqrt reciprocal pow square abs softplus elu selu celu"
    " leaky_relu prelu hardtanh hardswish hardsigmoid relu6 mish erf erfc sin cos tan sinh cosh asinh atan logsigmoid clamp"
    " clamp_min clamp_max hardshrink softshrink tanhshrink log_sigmoid log_sigmoid_forward log2 log10 nan_to_num remainder"
    " fmod rrelu threshold floor ceil round trunc frac sign softsign sgn asin acos acosh atanh",
    # the same, of which no series is known here
    "special": "lgamma digamma polygamma erfinv i0 sinc logit special_i0e special_i1 special_i1e special_ndtr special_log_ndtr"
    " special_ndtri special_erfcx special_entr",
    "pair": "maximum minimum fmax fmin atan2 xlogy special_xlog1py copysign",
    "product": "prod cumprod",
    "inverse": "linalg_inv inverse linalg_inv_ex",
    "matrix": "matrix_exp linalg_matrix_exp det linalg_det slogdet linalg_slogdet logdet cholesky linalg_cholesky linalg_cholesky_ex qr"
    " linalg_qr linalg_eigvalsh linalg_eigh linalg_svdvals linalg_svd pinverse linalg_pinv linalg_lu linalg_lu_factor"
    " linalg_householder_product linalg_matrix_norm",
    "softmax": "softmax _softmax _safe_softmax",
    "log_softmax": "log_softmax _log_softmax",
    "logsumexp": "logsumexp",
    "norm": "layer_norm native_layer_norm group_norm native_group_norm instance_norm rms_norm _fused_rms_norm",
    "largest": "max_pool1d max_pool1d_with_indices max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices"
    " adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d max min amax amin",
    "select": "sort msort topk kthvalue median nanmedian",
    "running": "cummax cummin",
    "unpool": "max_unpool2d max_unpool3d",
    "step": "eq ne lt le gt ge logical_not logical_and logical_or logical_xor bitwise_not bitwise_and bitwise_or bitwise_xor and or"
    " xor isnan isinf isfinite isneginf isposinf signbit heaviside",
    "choose": "where masked_fill",
}

BRINGING_CONSTANTS = frozenset("pad constant_pad_nd masked_fill where scatter index_fill fill".split())
"""Moves that may put a constant number into places."""

KIND_BY_OP = {op: kind for kind, ops in OPS_BY_KIND.items() for op in ops.split()}


def by_identity(function: Callable[[Any], str]) -> Callable[[Any], str]:
    """As ``functools.cache``, for ops, whose hash is dear; each is kept, so that its identity is not given away again."""
    known: dict[int, tuple[Any, str]] = {}

    @wraps(function)
    def found(target: Any) -> str:
        entry = known.get(id(target))
        if entry is None:
            entry = known[id(target)] = (target, function(target))
        return entry[1]

    return found


@by_identity
def op_kind(target: Callable[..., Any]) -> str:
    """Kind of an op; empty if it has none: some are decomposed into simpler ops, the rest have no rule."""
    return KIND_BY_OP.get(op_name(target), "")


@by_identity
def op_name(target: Callable[..., Any]) -> str:
    """Name of an op without overload and in-place mark, under the first of its names; one of somebody's library that is called as one of
    torch's keeps its namespace, lest it be taken for that.
    """
    name = base_op_name(target).removesuffix("_")
    if isinstance(target, torch._ops.OpOverload) and target.namespace != "aten" and hasattr(torch.ops.aten, name):
        return f"{target.namespace}::{name}"
    return name.strip("_") if name.startswith("__") else ALIASES.get(name, name)
