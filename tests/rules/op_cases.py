"""All ops that have a two-point rule, each as a function of batches, by name: (function, shapes of one sample's inputs)."""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import nn

import vesalius as vs
from tests.rules.single_op import random

SLOPE = torch.tensor([0.2], dtype=torch.float64)

EVERYWHERE = {
    "relu": torch.relu,
    "gelu": F.gelu,
    "gelu tanh": lambda z: F.gelu(z, approximate="tanh"),
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "expm1": torch.expm1,
    "square": torch.square,
    "pow 2": lambda z: z**2,
    "pow 3": lambda z: z**3,
    "abs": torch.abs,
    "softplus": lambda z: F.softplus(z, 2.0),
    "elu": lambda z: F.elu(z, 0.7),
    "selu": F.selu,
    "celu": lambda z: F.celu(z, 1.3),
    "leaky_relu": lambda z: F.leaky_relu(z, 0.1),
    "prelu": lambda z: F.prelu(z, SLOPE),
    "hardtanh": lambda z: F.hardtanh(z, -0.8, 1.2),
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "relu6": F.relu6,
    "mish": F.mish,
    "erf": torch.erf,
    "erfc": torch.erfc,
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": lambda z: torch.tan(z / 4),
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "asinh": torch.asinh,
    "atan": torch.atan,
    "logsigmoid": F.logsigmoid,
    "clamp": lambda z: z.clamp(-0.5, 0.7),
    "clamp_min": lambda z: z.clamp(min=-0.5),
    "clamp_max": lambda z: z.clamp(max=0.5),
    "hardshrink": lambda z: F.hardshrink(z, 0.3),
    "softshrink": lambda z: F.softshrink(z, 0.3),
    "tanhshrink": F.tanhshrink,
    "softsign": F.softsign,
    "threshold": lambda z: F.threshold(z, 0.1, 0.4),
    "rrelu": F.rrelu,
    "nan_to_num": torch.nan_to_num,
    "remainder": lambda z: torch.remainder(z, 0.75),
    "fmod": lambda z: torch.fmod(z, 0.75),
    "frac": torch.frac,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round": torch.round,
    "trunc": torch.trunc,
    "sign": torch.sign,
    "asin": lambda z: torch.asin(torch.tanh(z)),
    "acos": lambda z: torch.acos(torch.tanh(z)),
    "acosh": lambda z: torch.acosh(1.1 + z * z),
    "atanh": lambda z: torch.atanh(torch.sin(z) * 0.9),
    "sgn": torch.sgn,
    "maximum with a constant": lambda z: torch.maximum(z, torch.full_like(z, 0.3)),
    "minimum with a constant": lambda z: torch.minimum(z, torch.full_like(z, 0.3)),
}
"""Functions of one number, defined for all."""

POSITIVE = {
    "log": torch.log,
    "log1p": torch.log1p,
    "log2": torch.log2,
    "log10": torch.log10,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "reciprocal": torch.reciprocal,
    "pow -1/2": lambda z: z**-0.5,
    "pow 1.7": lambda z: z**1.7,
    "1 / z": lambda z: 1 / z,
    "3 / z": lambda z: 3 / z,
    "2 ** z": lambda z: 2**z,
}
"""Functions of one number, defined for positive ones."""

MASK = torch.tensor([True, False, True, True, False])
GATES = random(4, 3, seed=70)
BILINEAR = random(2, 5, 5, seed=71)

PLACES = torch.tensor([1, 2, 0, 1])


def written(assign):
    """A function that writes to a copy of its first argument."""

    def function(z, *others):
        z = z.clone()
        assign(z, *others)
        return z

    return function


def assign_marked(z):
    z[z < 0.1] = 0.4


def scale_marked(z):
    z[z < 0] *= 0.1


def bend_marked(z):
    z[z < 0] = torch.exp(z[z < 0]) - 1


def assign_marked_rows(z):
    z[z.sum(2) < 0] = torch.tensor([1.0, 2.0]).double()


def add_to_marked(z, y):
    z[y > 0] += y[y > 0]


def zero_column(z):
    z[:, 1] = 0


def double_columns(z):
    z[:, [0, 2]] = 2 * z[:, [1, 3]]


def unpooled(z):
    """Values that were changed between pooling and being put back."""
    values, places = F.max_pool2d(z, 2, return_indices=True)
    return F.max_unpool2d(torch.tanh(values) + 1, places, 2)


def for_all(places, z):
    return places.expand(z.shape[0], -1)


def low_frequencies(z):
    spectrum = torch.zeros(len(z), 4, dtype=torch.cdouble)
    spectrum[:, :2] = torch.fft.rfft(z)[:, :2] * 2j
    return torch.fft.irfft(spectrum, 4)


EYE, SQUARE = torch.eye(3).double(), random(1, 1, 3, 3, seed=8)

MASKED = {
    "one number where marked": (written(assign_marked), [(5,)]),
    "scaled where marked": (written(scale_marked), [(5,)]),
    "bent where marked": (written(bend_marked), [(5,)]),
    "rows where marked": (written(assign_marked_rows), [(4, 2)]),
    "added where another is marked": (written(add_to_marked), [(5,), (5,)]),
    "index_put, accumulated": (lambda z: torch.index_put(z, (z > 0.2,), torch.tensor(0.5).double(), accumulate=True), [(5,)]),
}
"""Assignments to elements that a mask marks."""

MOVES = {
    "slice assigned": (written(zero_column), [(5,)]),
    "columns assigned": (written(double_columns), [(5,)]),
    "scatter_add": (lambda z: torch.zeros_like(z).scatter_add(1, for_all(PLACES, z), z[:, PLACES]), [(5,)]),
    "index_add": (lambda z: z.index_add(1, PLACES, z[:, PLACES], alpha=0.5), [(5,)]),
    "scatter": (lambda z: torch.zeros_like(z).scatter(1, for_all(PLACES[:2], z), z[:, 2:4]), [(5,)]),
    "scatter of a number": (lambda z: z.scatter(1, for_all(PLACES[:2], z), 2.0), [(5,)]),
    "scatter_reduce, sum": (lambda z: z.scatter_reduce(1, for_all(PLACES, z), 2 * z[:, PLACES], "sum"), [(5,)]),
    "scatter_reduce, mean": (lambda z: z.scatter_reduce(1, for_all(PLACES, z), z[:, 1:], "mean"), [(5,)]),
    "scatter_reduce, mean of others": (
        lambda z: z.scatter_reduce(1, for_all(PLACES, z), z[:, 1:], "mean", include_self=False),
        [(5,)],
    ),
    "scatter_reduce, amax": (lambda z: z.scatter_reduce(1, for_all(PLACES, z), 2 * z[:, 1:], "amax"), [(5,)]),
    "scatter_reduce, amin of others": (
        lambda z: z.scatter_reduce(1, for_all(PLACES, z), z[:, 1:].exp(), "amin", include_self=False),
        [(5,)],
    ),
    "scatter_reduce, prod": (lambda z: z.scatter_reduce(1, for_all(PLACES, z), z[:, 1:], "prod"), [(5,)]),
    "scatter_reduce along the first of two": (
        lambda z: z.scatter_reduce(1, PLACES[None, :3, None].expand(len(z), 3, 2), z[:, 1:, :2] ** 2, "amax"),
        [(4, 3)],
    ),
    "index_reduce, amax": (lambda z: z.index_reduce(1, PLACES, z[:, 1:].exp(), "amax"), [(5,)]),
    "index_reduce, mean": (lambda z: z.index_reduce(1, PLACES, z[:, 1:].exp(), "mean", include_self=False), [(5,)]),
    "constants in the shape of a value": (lambda z: torch.arange(4.0).to(z.dtype)[:, None].expand_as(z) * z, [(4, 3)]),
    "index_fill": (lambda z: z.index_fill(1, torch.tensor([0, 3]), 0.5), [(5,)]),
    "index_copy": (lambda z: z.index_copy(1, torch.tensor([0, 3]), 2 * z[:, 1:3]), [(5,)]),
    "fill of a slice": (written(lambda z: z[:, 1:3].fill_(0.3)), [(5,)]),
    "diagonal_scatter": (lambda z: z.diagonal_scatter(2 * z[:, 0, :2], 0, 1, 2), [(2, 3)]),
    "diag_embed": (torch.diag_embed, [(3,)]),
    "roll": (lambda z: z.roll(2, 1), [(5,)]),
    "unfold and fold": (lambda z: F.fold(F.unfold(z, 2) ** 2, (3, 3), 2), [(1, 3, 3)]),
    "einsum of one, sums": (lambda z: torch.einsum("bij->bj", z), [(3, 2)]),
    "einsum of one, a diagonal": (lambda z: torch.einsum("bii->bi", z), [(3, 3)]),
    "einsum of one, turned": (lambda z: torch.einsum("bij->bji", z), [(3, 2)]),
    "einsum with two constants": (lambda z: torch.einsum("ki,bi,kj->bj", GATES, z, GATES), [(3,)]),
    "embedding_bag": (lambda z: F.embedding_bag(for_all(PLACES, z), GATES, per_sample_weights=z, mode="sum"), [(4,)]),
    "upsample_bicubic2d": (lambda z: F.interpolate(z, scale_factor=2, mode="bicubic"), [(1, 3, 3)]),
    "grid_sample": (lambda z: F.grid_sample(z, torch.full((1, 2, 2, 2), 0.3).double().expand(z.shape[0], -1, -1, -1)), [(1, 3, 3)]),
    "triangular system": (lambda z: torch.linalg.solve_triangular(GATES[:3, :3].tril() + 2 * EYE, z, upper=False), [(3, 2)]),
    "positive definite system": (lambda z: torch.cholesky_solve(z, GATES[:3, :3].tril() + 2 * EYE), [(3, 2)]),
    "one system for all": (lambda z: torch.linalg.solve(GATES[:3, :3] + 3 * EYE, z), [(3, 2)]),
    "one system for all, by its inverse": (lambda z: torch.linalg.solve_ex(GATES[:3, :3] + 3 * EYE, z)[0], [(3, 2)]),
    "matrices in a row": (lambda z: torch.linalg.multi_dot([z, GATES[:4, :3], EYE]), [(4,)]),
    "take_along_dim of one row": (lambda z: z.take_along_dim(torch.tensor([[0, 2, 2]]), 1), [(4,)]),
    "kernels for a constant": (lambda z: F.conv2d(SQUARE.expand(1, len(z), 3, 3), z, groups=len(z))[0], [(1, 2, 2)]),
    "hstack and diff": (lambda z: torch.hstack([z, z.flip(1)]).diff(dim=1), [(5,)]),
}
"""Ops that are linear given their places."""

COMPLEX = {
    "rfft, real": (lambda z: torch.fft.rfft(z).real, [(6,)]),
    "rfft, size": (lambda z: torch.fft.rfft(z).abs(), [(6,)]),
    "filter": (lambda z: torch.fft.irfft(torch.fft.rfft(z) * torch.tensor([1, 2j, 0.5, 1 - 1j]), n=6), [(6,)]),
    "fft2": (lambda z: torch.view_as_real(torch.fft.fft2(z)), [(2, 3)]),
    "ifft of a complex number": (lambda z, y: torch.fft.ifft(torch.complex(z, y)).imag, [(4,), (4,)]),
    "power spectrum": (lambda z: (torch.fft.rfft(z) * torch.fft.rfft(z).conj()).real, [(6,)]),
    "convolution by Fourier": (lambda z, y: torch.fft.irfft(torch.fft.rfft(z) * torch.fft.rfft(y), n=6), [(6,), (6,)]),
    "complex matrices": (lambda z, y: (torch.fft.fft(z) @ torch.fft.fft(y)).real, [(3, 3), (3, 3)]),
    "polar": (lambda z, y: torch.view_as_real(torch.polar(z * z, y)), [(4,), (4,)]),
    "quotient of complex numbers": (lambda z, y: (torch.fft.fft(z) / (torch.fft.fft(y) + 3j)).imag, [(4,), (4,)]),
    "complex number over a real one": (lambda z, y: (torch.complex(z, y) / (z * z + 1)).real, [(4,), (4,)]),
    "real number times a complex one": (lambda z, y: torch.view_as_real(z.exp() * torch.complex(z, y)), [(4,), (4,)]),
    "reciprocal of a complex number": (lambda z: (1 / (torch.fft.rfft(z) + 2j)).real, [(4,)]),
    "exponential of a complex number": (lambda z, y: torch.exp(torch.complex(z, y)).real, [(4,), (4,)]),
    "slice of a spectrum assigned": (low_frequencies, [(6,)]),
}
"""Ops with complex numbers between them."""

LOOKUP = random(6, 2, seed=5)


def assigned(z):
    """The largest two, overwritten."""
    found = z * 2
    found[torch.arange(len(z))[:, None], z.topk(2, 1).indices] = z[:, 3:] * z[:, :2]
    return found


def routed(z):
    """A layer of four experts, of which the router takes two."""
    weights, chosen = torch.topk(z[:, :4], 2)
    weights = torch.zeros(len(z), 4, dtype=z.dtype).scatter(1, chosen, weights.softmax(1))
    return weights * torch.tanh(z[:, 4:])


def experts_by_mask(z):
    """The same, expert by expert."""
    weights, chosen = torch.topk(z[:, :4].softmax(1), 2, sorted=False)
    kept = [(weights * (chosen == expert)).sum(1, keepdim=True) * torch.tanh(z[:, 4 + expert : 5 + expert]) for expert in range(4)]
    return torch.cat(kept, 1)


BY_PLACE = {
    "gather by topk": (lambda z: z.flip(1).gather(1, z.topk(2, 1).indices), [(5,)]),
    "gather by argsort": (lambda z: (z**3).gather(1, z.argsort(1, descending=True)), [(5,)]),
    "gather along the middle": (lambda z, v: v.gather(1, z.topk(2, 1).indices), [(4, 3), (4, 3)]),
    "gather of constants": (lambda z: torch.arange(5.0, dtype=z.dtype).expand(len(z), 5).gather(1, z.sort(1)[1]), [(5,)]),
    "gather by argmin": (lambda z: z.exp().gather(2, z.argmin(2, keepdim=True)), [(2, 4)]),
    "rows of a table": (lambda z: LOOKUP[z.argmax(1)], [(4,)]),
    "embedding of a place": (lambda z: F.embedding(z.topk(2, 1).indices, LOOKUP), [(4,)]),
    "rows by arange": (lambda z, v: v[torch.arange(len(z))[:, None], z.topk(2, 1).indices], [(4,), (4, 3)]),
    "index_select by place": (lambda z: LOOKUP.index_select(0, z.argmax(1)), [(4,)]),
    "places of max": (lambda z, v: v.gather(1, z.max(1, keepdim=True)[1]), [(5,), (5,)]),
    "places of min": (lambda z, v: v.gather(1, z.min(1, keepdim=True).indices), [(5,), (5,)]),
    "places of kthvalue": (lambda z, v: v.gather(1, z.kthvalue(2, 1)[1][:, None]), [(5,), (5,)]),
    "one_hot": (lambda z: F.one_hot(z.argmax(1), 6).to(z.dtype), [(4,)]),
    "one_hot by comparison": (lambda z: (z.argmax(1)[:, None] == torch.arange(4)).to(z.dtype), [(4,)]),
    "a place as a number": (lambda z: z.argmax(1).to(z.dtype) / 2, [(4,)]),
    "row and column of a place": (lambda z: LOOKUP[z.flatten(1).argmax(1) // 3] + LOOKUP[z.flatten(1).argmax(1) % 3], [(2, 3)]),
    "scatter to places": (lambda z: torch.zeros_like(z).scatter(1, z.topk(2, 1).indices, z[:, :2]), [(5,)]),
    "a number to places": (lambda z: z.scatter(1, z.topk(2, 1).indices, 0.5), [(5,)]),
    "scatter among the rest": (lambda z: torch.full_like(z, -math.inf).scatter(1, *z.topk(2, 1)[::-1]).softmax(1), [(5,)]),
    "added to places": (lambda z, v: (v * 2).scatter_add(1, z.topk(2, 1).indices, v[:, 1:3]), [(5,), (5,)]),
    "assignment": (assigned, [(5,)]),
    "those above a rank": (lambda z: z.masked_fill(z < z.topk(2, 1).values[:, -1:], -math.inf).softmax(1), [(5,)]),
    "router": (routed, [(8,)]),
    "experts by mask": (experts_by_mask, [(8,)]),
}
"""Ops of places that depend on the inputs."""

SELECTIONS = {
    "sort": (lambda z: z.sort(1).values, [(5, 2)]),
    "sort, falling": (lambda z: torch.sort(z, dim=-1, descending=True, stable=True).values, [(2, 7)]),
    "msort": (lambda z: torch.msort(z.T).T, [(6,)]),
    "topk": (lambda z: z.topk(3, 1).values, [(5,)]),
    "topk, smallest": (lambda z: z.topk(2, dim=2, largest=False).values, [(2, 5)]),
    "median": (lambda z: z.median(1).values, [(6, 2)]),
    "kthvalue": (lambda z: z.kthvalue(2, 1, keepdim=True).values, [(5,)]),
    "quantile": (lambda z: z.quantile(0.3, 1), [(5, 2)]),
    "several quantiles": (lambda z: z.quantile(torch.tensor([0.25, 0.8]).double(), 1).mT, [(5,)]),
    "quantile beside NaN": (lambda z: z.nanquantile(0.3, 1), [(5, 2)]),
    "cummax": (lambda z: z.cummax(1).values, [(6,)]),
    "cummin": (lambda z: z.cummin(2).values, [(2, 5)]),
    "max_unpool1d": (lambda z: F.max_unpool1d(*F.max_pool1d(z, 2, return_indices=True), 2), [(2, 6)]),
    "max_unpool2d of other values": (unpooled, [(2, 4, 4)]),
}
"""Ops that choose by value."""

WITHOUT_A_SERIES = {
    "inverse": (lambda z: torch.linalg.inv(z @ z.mT + EYE[:2, :2]), [(2, 2)]),
    "systems of a batch": (lambda z, y: torch.linalg.solve(z @ z.mT + EYE[:2, :2], y), [(2, 2), (2, 3)]),
    "systems from the right": (lambda z, y: torch.linalg.solve(z @ z.mT + EYE[:2, :2], y, left=False), [(2, 2), (3, 2)]),
    "systems of vectors": (lambda z, y: torch.linalg.solve(z @ z.mT + EYE[:2, :2], y), [(2, 2), (2,)]),
    "matrix exponential": (torch.matrix_exp, [(3, 3)]),
    "determinant": (lambda z: torch.linalg.det(z)[:, None], [(3, 3)]),
    "logarithm of a determinant": (lambda z: torch.logdet(z @ z.mT + EYE[:2, :2])[:, None], [(2, 2)]),
    "sign and logarithm": (lambda z: torch.stack(torch.slogdet(z @ z.mT + EYE[:2, :2]), 1), [(2, 2)]),
    "cholesky": (lambda z: torch.linalg.cholesky(z @ z.mT + EYE[:2, :2]), [(2, 2)]),
    "orthogonal factor": (lambda z: torch.linalg.qr(z.tanh() - 4 * EYE[:2, :2])[0], [(2, 2)]),
    "eigenvalues": (lambda z: torch.linalg.eigvalsh(z + z.mT), [(3, 3)]),
    "eigenvalues beside vectors": (lambda z: torch.linalg.eigh(z + z.mT)[0], [(2, 2)]),
    "singular values": (lambda z: torch.linalg.svdvals(z + 3 * EYE[:2, :2]), [(2, 2)]),
    "nuclear norm": (lambda z: torch.linalg.matrix_norm(z + 3 * EYE[:2, :2], "nuc")[:, None], [(2, 2)]),
    "spectral norm": (lambda z: torch.linalg.matrix_norm(z + 3 * EYE[:2, :2], 2)[:, None], [(2, 2)]),
    "matrix norm": (lambda z: torch.linalg.matrix_norm(z)[:, None], [(2, 3)]),
    "pseudo-inverse": (lambda z: torch.linalg.pinv(z.tanh() + 3 * EYE[:3, :2]), [(3, 2)]),
    "reflections": (lambda z, y: torch.linalg.householder_product(z, y), [(3, 2), (2,)]),
    "stft": (
        lambda z: torch.stft(z, 4, 2, window=torch.ones(4).double(), return_complex=True).abs(),
        [(8,)],
    ),
    "baddbmm of three values": (lambda z, v, w: torch.baddbmm(z, v, w, beta=0.5, alpha=2.0), [(2, 2), (2, 3), (3, 2)]),
    "atan2": (torch.atan2, [(5,), (5,)]),
    "angle": (lambda z: torch.fft.rfft(z)[:, 1:3].angle(), [(6,)]),
    "copysign": (torch.copysign, [(5,), (5,)]),
    "remainder of two": (lambda z, y: torch.remainder(z, y.abs() + 1), [(5,), (5,)]),
    "lgamma": (lambda z: torch.lgamma(z * z + 1), [(5,)]),
    "digamma": (lambda z: torch.digamma(z * z + 1), [(5,)]),
    "erfinv": (lambda z: torch.erfinv(torch.tanh(z)), [(5,)]),
    "i0": (torch.i0, [(5,)]),
    "any": (lambda z: (z > 0.5).any(1, keepdim=True).to(z.dtype), [(3, 2)]),
    "all": (lambda z: (z > -0.5).all(2).to(z.dtype), [(3, 2)]),
    "isnan": (lambda z: torch.where(torch.isnan(z), 0.0, z), [(5,)]),
    "count_nonzero": (lambda z: torch.relu(z).count_nonzero(1).to(z.dtype), [(5, 2)]),
    "quotient rounded down": (lambda z: z.div(0.3, rounding_mode="floor") + z.div(0.2, rounding_mode="trunc"), [(5,)]),
    "norm of order 0": (lambda z: torch.relu(z).norm(0, dim=1), [(5,)]),
}
"""Ops that no series is known of here, or whose pieces are single points."""

OPS = {
    **MOVES,
    **COMPLEX,
    **BY_PLACE,
    **SELECTIONS,
    "prod": (lambda z: z.prod(1), [(5, 2)]),
    "prod of two": (lambda z: z.prod(2, keepdim=True), [(5, 2)]),
    "cumprod": (lambda z: z.cumprod(1), [(6,)]),
    "logcumsumexp": (lambda z: z.logcumsumexp(1), [(5, 2)]),
    "cosine_similarity": (lambda a, b: F.cosine_similarity(a, b, dim=1), [(5,), (5,)]),
    "pairwise_distance": (F.pairwise_distance, [(5,), (5,)]),
    "cdist": (torch.cdist, [(2, 3), (4, 3)]),
    "cdist of order 1": (lambda a, b: torch.cdist(a, b, p=1), [(2, 3), (4, 3)]),
    "hypot": (torch.hypot, [(5,), (5,)]),
    "xlogy": (lambda a, b: torch.xlogy(a, b * b + 0.1), [(5,), (5,)]),
    "xlog1py": (lambda a, b: torch.special.xlog1py(a, b * b), [(5,), (5,)]),
    "pow of two": (lambda a, b: (a * a + 0.1) ** b, [(5,), (5,)]),
    "logit": (lambda z: torch.logit(torch.sigmoid(z)), [(5,)]),
    "sinc": (torch.sinc, [(5,)]),
    "linalg.norm": (lambda z: torch.linalg.norm(z, dim=1), [(5,)]),
    "matrix_norm": (torch.linalg.matrix_norm, [(2, 3)]),
    "cross": (lambda a, b: torch.linalg.cross(a, b), [(3,), (3,)]),
    "logaddexp2": (torch.logaddexp2, [(5,), (5,)]),
    "huber": (lambda a, b: F.huber_loss(a, b, reduction="none"), [(5,), (5,)]),
    "clamp between values": (lambda a, b: a.clamp(b - 0.5, b + 0.5), [(5,), (5,)]),
    "a constant over one number": (lambda z: torch.arange(1.0, 4).double() / (z * z + 1), [(1,)]),
    "a constant or one number": (lambda z: torch.maximum(torch.arange(-1.0, 2).double(), z), [(1,)]),
    "mul": (torch.mul, [(5,), (5,)]),
    "mul, broadcast": (lambda a, b: a[:, :, None] * b, [(3,), (3, 4)]),
    "mul by itself": (lambda a: a * a, [(5,)]),
    "neg": (torch.neg, [(5,)]),
    "rsub": (lambda a, b: 2 - torch.rsub(a, b, alpha=0.5), [(5,), (5,)]),
    "div": (lambda a, b: a / (b * b + 0.1), [(5,), (5,)]),
    "matmul": (torch.matmul, [(3, 4), (4, 2)]),
    "bmm": (torch.bmm, [(3, 4), (4, 2)]),
    "einsum": (lambda a, b: torch.einsum("bij,bkj->bki", a, b), [(3, 4), (2, 4)]),
    "linear": (lambda a: F.linear(a, GATES), [(3,)]),
    "bilinear": (lambda a, b: F.bilinear(a, b, BILINEAR), [(5,), (5,)]),
    "lerp": (torch.lerp, [(5,), (5,), (5,)]),
    "addcmul": (lambda a, b, c: torch.addcmul(a, b, c, value=0.7), [(5,), (5,), (5,)]),
    "glu": (F.glu, [(6,)]),
    "softmax": (lambda z: z.softmax(1), [(5,)]),
    "softmax, first axis": (lambda z: z.softmax(1), [(3, 4)]),
    "softmax, masked": (lambda z: z.masked_fill(~MASK, -torch.inf).softmax(1), [(5,)]),
    "log_softmax": (lambda z: z.log_softmax(1), [(5,)]),
    "logsumexp": (lambda z: z.logsumexp(1), [(5,)]),
    "logsumexp of two axes": (lambda z: z.logsumexp((1, 2), keepdim=True), [(3, 4)]),
    "logaddexp": (torch.logaddexp, [(5,), (5,)]),
    "layer_norm": (lambda z: F.layer_norm(z, (5,)), [(5,)]),
    "rms_norm": (lambda z: F.rms_norm(z, (5,), eps=1e-3), [(5,)]),
    "group_norm": (lambda z: F.group_norm(z, 2), [(4, 3)]),
    "instance_norm": (F.instance_norm, [(3, 4)]),
    "batch_norm": (nn.BatchNorm1d(3).double().eval(), [(3, 4)]),
    "var": (lambda z: z.var(1), [(5,)]),
    "std": (lambda z: z.std(1), [(5,)]),
    "norm": (lambda z: z.norm(dim=1), [(5,)]),
    "normalize": (lambda z: F.normalize(z, dim=1), [(5,)]),
    "max_pool1d": (lambda z: F.max_pool1d(z, 2), [(2, 6)]),
    "max_pool2d": (lambda z: F.max_pool2d(z, 3, 2, 1), [(2, 5, 5)]),
    "max_pool3d": (lambda z: F.max_pool3d(z, 2), [(1, 4, 2, 4)]),
    "adaptive_max_pool1d": (lambda z: F.adaptive_max_pool1d(z, 2), [(2, 5)]),
    "adaptive_max_pool2d": (lambda z: F.adaptive_max_pool2d(z, (2, 1)), [(2, 5, 3)]),
    "amax": (lambda z: z.amax(1), [(5, 2)]),
    "amax of two axes": (lambda z: z.amax((1, 3), keepdim=True), [(3, 2, 4)]),
    "amin": (lambda z: z.amin(-1), [(2, 5)]),
    "max of an axis": (lambda z: z.max(dim=1).values, [(5, 2)]),
    "min of an axis": (lambda z: z.min(dim=2, keepdim=True).values, [(2, 5)]),
    "maximum": (torch.maximum, [(5,), (5,)]),
    "minimum": (torch.minimum, [(5,), (5,)]),
    "where": (lambda c, a, b: torch.where(c > 0, a, b), [(5,), (5,), (5,)]),
    "where between itself": (lambda a: torch.where(a > 0.1, a, 0.2 * a - 1), [(5,)]),
    "masked_fill": (lambda c, a: a.masked_fill(c > 0.3, 1.5), [(5,), (5,)]),
    "a > constant": (lambda a: (a > 0.2).to(a.dtype), [(5,)]),
    "a <= b": (lambda a, b: (a <= b).to(a.dtype), [(5,), (5,)]),
    "and": (lambda a, b: ((a > 0) & (b > 0)).to(a.dtype), [(5,), (5,)]),
    "or, not": (lambda a, b: (~(a > 0) | (b > 0)).to(a.dtype), [(5,), (5,)]),
    "xor": (lambda a, b: ((a > 0) ^ (b > 0)).to(a.dtype), [(5,), (5,)]),
    "logical, constant first": (lambda a: torch.logical_or(MASK, torch.logical_and(a > 0, MASK)).to(a.dtype), [(5,)]),
    "cumsum": (lambda z: z.cumsum(1), [(5, 2)]),
    "gather": (lambda z: z.gather(1, torch.tensor([[4, 0, 0]]).expand(z.shape[0], 3)), [(5,)]),
    "avg_pool2d": (lambda z: F.avg_pool2d(z, 2), [(2, 4, 4)]),
}
"""Ops of several numbers."""


def drawn(shapes, seed=0, batch=2):
    """Random inputs."""
    return tuple(random(batch, *shape, seed=seed + place) for place, shape in enumerate(shapes))


M = random(7, seed=3)
"""Weights of the numbers that a function is read out with."""


class Together(nn.Module):
    """Many functions of one input, a weighted sum of each: one target per function."""

    def __init__(self, functions):
        super().__init__()
        self.functions = list(functions)
        self.register_buffer("m", M)

    def forward(self, z):
        return torch.stack([function(z) for function in self.functions], 1) @ self.m


@cache
def together(positive):
    """All functions of one number, of any sign or positive, as one network."""
    return vs.trace(Together((POSITIVE if positive else EVERYWHERE).values()).eval(), torch.ones(2, 7).double())
