"""Ops that a graph in a file may hold: pure functions of tensors, by name.

A file is made by anyone. Nothing here writes to a tensor, takes a path, prints, draws random numbers, sets a flag of the process or reads
memory that was never written. What a tensor may grow to is watched over in :mod:`vesalius.trace.rehearsal`.
"""

from __future__ import annotations

import keyword
import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch._ops import OpOverload

SCALAR_OPS: Mapping[str, Any] = {
    **{
        f"operator.{name}": getattr(operator, name) for name in "add sub mul floordiv truediv mod neg getitem pow eq ne lt le gt ge".split()
    },
    **{f"math.{name}": getattr(math, name) for name in ("ceil", "floor", "trunc")},
    **{f"torch.{name}": getattr(torch, name) for name in ("sym_max", "sym_min", "sym_int", "sym_float", "sym_not", "sym_ite")},
}
"""Functions of sizes."""

DTYPES: Mapping[str, torch.dtype] = {
    name: getattr(torch, name) for name in "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128".split()
}

ELEMENTWISE = """
    abs absolute acos acosh add addcdiv addcmul angle arccos arccosh arcsin arcsinh arctan arctan2 arctanh asin asinh atan atan2 atanh
    bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor ceil celu clamp clamp_max clamp_min clip complex
    conj conj_physical copysign cos cosh deg2rad digamma div divide elu eq erf erfc erfinv exp exp2 expm1 fill fix float_power floor
    floor_divide fmax fmin fmod frac frexp gcd ge gelu greater greater_equal gt hardshrink hardsigmoid hardswish hardtanh heaviside hypot
    i0 igamma igammac imag isclose isfinite isin isinf isnan isneginf isposinf isreal lcm ldexp le leaky_relu lerp less less_equal lgamma
    log log10 log1p log2 log_sigmoid log_sigmoid_forward logaddexp logaddexp2 logical_and logical_not logical_or logical_xor logit lt
    masked_fill maximum minimum mish mul multiply mvlgamma nan_to_num ne neg negative nextafter not_equal polar polygamma positive pow
    prelu rad2deg real reciprocal relu relu6 remainder resolve_conj resolve_neg round rrelu rsqrt rsub selu sgn sigmoid sign signbit silu
    sin sinc sinh softplus softshrink special_airy_ai special_bessel_j0 special_bessel_j1 special_bessel_y0 special_bessel_y1
    special_digamma special_entr special_erf special_erfc special_erfcx special_erfinv special_exp2 special_expit special_expm1
    special_gammainc special_gammaincc special_gammaln special_i0 special_i0e special_i1 special_i1e special_log1p special_log_ndtr
    special_logit special_modified_bessel_i0 special_modified_bessel_i1 special_modified_bessel_k0 special_modified_bessel_k1
    special_multigammaln special_ndtr special_ndtri special_polygamma special_psi special_round special_scaled_modified_bessel_k0
    special_scaled_modified_bessel_k1 special_sinc special_spherical_bessel_j0 special_xlog1py special_xlogy special_zeta sqrt square sub
    subtract tan tanh threshold true_divide trunc where xlogy __and__ __lshift__ __or__ __rshift__ __xor__ _conj _conj_physical _neg_view
    _prelu_kernel
    special_chebyshev_polynomial_t special_chebyshev_polynomial_u special_chebyshev_polynomial_v special_chebyshev_polynomial_w
    special_hermite_polynomial_h special_hermite_polynomial_he special_laguerre_polynomial_l special_legendre_polynomial_p
    special_shifted_chebyshev_polynomial_t special_shifted_chebyshev_polynomial_u special_shifted_chebyshev_polynomial_v
    special_shifted_chebyshev_polynomial_w
"""
REDUCTIONS = """
    all amax amin aminmax any argmax argmin argsort bucketize corrcoef count_nonzero cov cummax cummin cumprod cumsum
    cumulative_trapezoid diff dist frobenius_norm gradient histc kthvalue logcumsumexp logsumexp max mean median min mode msort nanmean
    nanmedian nanquantile nansum norm norm_except_dim nuclear_norm prod quantile renorm searchsorted sort special_logsumexp std std_mean
    sum topk trapezoid trapz var var_mean _aminmax _logcumsumexp _weight_norm _weight_norm_interface allclose equal
"""
PRODUCTS = """
    addbmm addmm addmv addr baddbmm bilinear bmm cdist chain_matmul cholesky cholesky_inverse cholesky_solve cosine_similarity cross det dot
    einsum ger inner inverse kron linalg_cholesky linalg_cholesky_ex linalg_cond linalg_cross linalg_det linalg_diagonal linalg_eig
    linalg_eigh linalg_eigvals linalg_eigvalsh linalg_householder_product linalg_inv linalg_inv_ex linalg_ldl_factor linalg_ldl_factor_ex
    linalg_ldl_solve linalg_lstsq linalg_lu linalg_lu_factor linalg_lu_factor_ex linalg_lu_solve linalg_matmul linalg_matrix_exp
    linalg_matrix_norm linalg_matrix_power linalg_matrix_rank linalg_multi_dot linalg_norm linalg_pinv linalg_qr linalg_slogdet
    linalg_solve linalg_solve_ex linalg_solve_triangular linalg_svd linalg_svdvals linalg_tensorinv linalg_tensorsolve linalg_vander
    linalg_vecdot linalg_vector_norm linear logdet lu_solve lu_unpack matmul matrix_exp matrix_power mm mv orgqr ormqr outer
    pairwise_distance pdist pinverse qr slogdet svd tensordot trace triangular_solve vander vdot _cdist_forward _euclidean_dist
    _linalg_det _linalg_eigh _linalg_slogdet _linalg_solve_ex _linalg_svd _pdist_forward _trilinear
"""
LAYERS = """
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
    affine_grid_generator alpha_dropout avg_pool1d avg_pool2d avg_pool3d batch_norm channel_shuffle conv1d conv2d conv3d conv_tbc
    conv_transpose1d conv_transpose2d conv_transpose3d convolution dropout embedding embedding_bag feature_alpha_dropout feature_dropout
    glu grid_sampler grid_sampler_2d grid_sampler_3d group_norm gru gru_cell im2col col2im instance_norm layer_norm log_softmax lstm
    lstm_cell max_pool1d max_pool1d_with_indices max_pool2d max_pool2d_with_indices max_pool3d max_pool3d_with_indices max_unpool2d
    max_unpool3d native_channel_shuffle native_dropout native_group_norm native_layer_norm pixel_shuffle pixel_unshuffle rms_norm
    rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell scaled_dot_product_attention softmax special_log_softmax special_softmax
    upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d
    _adaptive_avg_pool2d _adaptive_avg_pool3d _convolution _convolution_mode _embedding_bag _embedding_bag_forward_only _fused_rms_norm
    _log_softmax _masked_softmax _native_batch_norm_legit_no_training _safe_softmax _scaled_dot_product_attention_math
    _scaled_dot_product_flash_attention_for_cpu _softmax _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d _thnn_fused_gru_cell _thnn_fused_lstm_cell
    binary_cross_entropy binary_cross_entropy_with_logits cosine_embedding_loss cross_entropy_loss hinge_embedding_loss huber_loss kl_div
    l1_loss margin_ranking_loss mse_loss multi_margin_loss multilabel_margin_loss nll_loss nll_loss2d nll_loss_nd poisson_nll_loss
    smooth_l1_loss soft_margin_loss triplet_margin_loss
"""
MOVES = """
    adjoint alias as_strided as_strided_scatter atleast_1d atleast_2d atleast_3d block_diag broadcast_tensors broadcast_to cartesian_prod
    cat chunk clone column_stack combinations concat concatenate constant_pad_nd contiguous copy detach diag diag_embed diagflat diagonal
    diagonal_scatter dsplit dstack expand expand_as flatten flip fliplr flipud gather hsplit hstack index index_add index_copy index_fill
    index_put index_reduce index_select lift lift_fresh lift_fresh_copy mH mT masked_scatter matrix_H meshgrid moveaxis movedim narrow
    numpy_T one_hot pad permute put ravel reflection_pad1d reflection_pad2d reflection_pad3d repeat repeat_interleave replication_pad1d
    replication_pad2d replication_pad3d reshape reshape_as roll rot90 row_stack scatter scatter_add scatter_reduce select select_scatter
    slice slice_scatter split split_with_sizes squeeze stack sum_to_size swapaxes swapdims t take take_along_dim tensor_split tile to
    transpose tril triu type_as unbind unflatten unfold unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze view view_as
    view_as_complex view_as_real vsplit vstack pad_sequence nonzero nonzero_numpy argwhere masked_select unique_consecutive
    unique_dim _unique _unique2 alias_copy as_strided_copy detach_copy diagonal_copy expand_copy narrow_copy permute_copy select_copy
    slice_copy split_copy split_with_sizes_copy squeeze_copy t_copy transpose_copy unbind_copy unfold_copy unsqueeze_copy
    view_as_complex_copy view_as_real_copy view_copy _conj_copy _neg_view_copy _pad_circular _pad_enum _reshape_alias _reshape_alias_copy
    _reshape_copy _stack _to_copy _unsafe_index _unsafe_index_put _unsafe_masked_index _unsafe_view _cast_Byte _cast_Char _cast_Double
    _cast_Float _cast_Half _cast_Int _cast_Long _cast_Short _dim_arange _shape_as_tensor
"""
TRANSFORMS = """
    fft_fft fft_fft2 fft_fftn fft_fftshift fft_hfft fft_hfft2 fft_hfftn fft_ifft fft_ifft2 fft_ifftn fft_ifftshift fft_ihfft fft_ihfft2
    fft_ihfftn fft_irfft fft_irfft2 fft_irfftn fft_rfft fft_rfft2 fft_rfftn istft stft _fft_c2c _fft_c2r _fft_r2c
"""
CREATIONS = """
    arange bartlett_window blackman_window empty empty_like eye fft_fftfreq fft_rfftfreq full full_like hamming_window hann_window
    kaiser_window linspace logspace new_empty new_full new_ones new_zeros ones ones_like scalar_tensor tril_indices triu_indices zeros
    zeros_like
"""
"""Ops that make tensors of sizes alone, and ops like them."""
NUMBERS = "sym_size sym_numel sym_stride sym_storage_offset item _local_scalar_dense is_nonzero"
"""Ops that give a number."""

PURE_OPS = frozenset(" ".join([ELEMENTWISE, REDUCTIONS, PRODUCTS, LAYERS, MOVES, TRANSFORMS, CREATIONS, NUMBERS]).split())
CREATED = frozenset(CREATIONS.split())
NUMBER_OPS = frozenset(NUMBERS.split()) | {"allclose", "equal"}

UNWRITTEN = {"empty": ("zeros", "default"), "empty_like": ("zeros_like", "default"), "new_empty": ("new_zeros", "default")}
"""Ops whose result is memory as it was found, and what a file gets instead."""

RANDOM_ARGUMENTS = {"train": False, "training": False, "dropout_p": 0.0}
"""Arguments that make an op random, or let it write to running statistics, and what they must be."""
MAY_TRAIN = frozenset({"batch_norm"})
"""Ops where such an argument does no harm as long as there are no running statistics."""

MAX_CONSTANTS: Mapping[str, tuple[str, int]] = {
    "combinations": ("r", 8),
    "diff": ("n", 64),
    "mvlgamma": ("p", 64),
    "polygamma": ("n", 64),
    "special_multigammaln": ("p", 64),
    "special_polygamma": ("n", 64),
}
"""Arguments that the work of an op grows with, whatever the size of its result, and the largest they may be."""
POLYNOMIAL = ("n", 1000)
"""Likewise, of special polynomials: their degree."""


def find_op(name: str) -> Any:
    """An op by its name in a file: ``aten.add.Tensor``, ``operator.mul``.

    Raises:
        ValueError: it is none that a file may hold; says so.
    """
    if name in SCALAR_OPS:
        return SCALAR_OPS[name]
    parts = name.split(".")
    if len(parts) != 3 or parts[0] != "aten" or parts[1] not in PURE_OPS:
        raise ValueError(f"it asks for the op {name!r}, which is none of those that a file may hold")
    op = getattr(torch.ops.aten, parts[1], None)
    if op is None or parts[2] not in op.overloads():
        raise ValueError(f"it asks for the op {name!r}, which torch {torch.__version__} does not have")
    found: OpOverload = getattr(op, parts[2])
    if reason := impurity(found):
        raise ValueError(f"it asks for the op {name!r}, which {reason}")
    return found


def impurity(op: OpOverload) -> str:
    """Why a file may not hold an op; empty if it may."""
    schema, name = op._schema, op._opname
    if op.namespace != "aten" or name not in PURE_OPS:
        return "is none of those that a file may hold"
    if schema.is_mutable or any(one.alias_info is not None and one.alias_info.is_write for one in (*schema.arguments, *schema.returns)):
        return "writes to what it is given"
    kinds = [str(one.type) for one in schema.arguments]
    if not any("Tensor" in kind for kind in kinds) and name not in CREATED:
        return "is no function of tensors"
    given = [str(one.type) for one in schema.returns]
    if not given or any("Tensor" not in kind for kind in given) != (name in NUMBER_OPS):
        return "gives no tensors"
    if any(kind.startswith("Dict") for kind in kinds):
        return "takes what no file can hold"
    return ""


def check_arguments(op: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Whether an op may be given these arguments.

    Raises:
        ValueError: a name that it does not have, too many, or what makes it random or slow without bound.
    """
    if not isinstance(op, OpOverload):
        if kwargs:
            raise ValueError(f"{op.__name__} has no arguments by name")
        return
    names = [one.name for one in op._schema.arguments]
    if len(args) > len(names) or not set(kwargs) <= set(names[len(args) :]):
        raise ValueError(f"{op} takes {', '.join(names)}; {len(args)} arguments and {', '.join(map(str, kwargs)) or 'none'} by name came")
    defaults = {one.name: one.default_value for one in op._schema.arguments if one.has_default_value()}
    given = {**defaults, **dict(zip(names, args, strict=False)), **kwargs}
    _check_pure_use(op, given)
    argument, most = POLYNOMIAL if "_polynomial_" in op._opname else MAX_CONSTANTS.get(op._opname, ("", 0))
    value = given.get(argument)
    if argument and value is not None and not (isinstance(value, (int, float)) and -most <= value <= most):
        raise ValueError(f"{op} may have {argument} from {-most} to {most} in a file, not {value}")


def _check_pure_use(op: OpOverload, given: Mapping[str, Any]) -> None:
    """Whether nothing is drawn at random, and no running statistics are written to."""
    running = given.get("running_mean") is not None or given.get("running_var") is not None
    if op._opname == "instance_norm" and running and given["use_input_stats"] is not False:
        raise ValueError(f"{op} by the statistics of the batch would write to those it has")
    for argument, harmless in RANDOM_ARGUMENTS.items():
        if argument in given and given[argument] != harmless and (op._opname not in MAY_TRAIN or running):
            raise ValueError(f"{op} with {argument}={given[argument]} is random, or writes to what it is given")


def check_name(name: Any) -> None:
    """Whether a tensor's name can stand in a program: PyTorch writes programs as text and runs that.

    Raises:
        ValueError: it cannot.
    """
    for part in name.split(".") if isinstance(name, str) else [""]:
        if not part or not part.isprintable() or '"' in part or "\\" in part or (part.startswith("__") and part.endswith("__")):
            raise ValueError(f"{name!r} is no name of a tensor")


def check_identifier(name: Any) -> None:
    """Whether an input's name can stand in a program.

    Raises:
        ValueError: it cannot.
    """
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name) or (name.startswith("__") and name.endswith("__")):
        raise ValueError(f"{name!r} is no name of an input")
