"""Colours, fonts, numbers in words and the verdict on a gap: the one place where the look of charts and pages is decided."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from vesalius.core.allocation import Allocation

RGB = tuple[int, int, int]

BLUE: RGB = (33, 102, 172)
PAPER: RGB = (247, 247, 245)
RED: RGB = (178, 24, 43)
"""Ends and middle of the diverging scale: lowers, nothing, raises."""

STRONG: RGB = (84, 39, 136)
"""End of the scale of sizes without a sign, which starts at ``PAPER``."""

INK: RGB = (28, 31, 36)
NON_MEMBER: RGB = (227, 229, 232)
"""Members of a coalition on a small picture, and the others."""

NAN_COLOUR: RGB = (255, 0, 255)
"""Where a map holds no number; a colour that the scale cannot make."""

LIGHT: Mapping[str, str] = {
    "paper": "#fcfcfa",
    "card": "#fff",
    "ink": "#1c1f24",
    "mut": "#5d6570",
    "dim": "#9aa2ad",
    "line": "#e3e5e8",
    "good": "#228833",
    "bad": "#b2182b",
    "warn": "#a86200",
    "ok": "#1b6e3a",
    "raises": "#b2182b",
    "lowers": "#2166ac",
    "c0": "#4477aa",
    "c1": "#ee6677",
    "c2": "#228833",
    "c3": "#aa3377",
    "c4": "#ab9a22",
    "c5": "#33a5cc",
}
DARK: Mapping[str, str] = {
    "paper": "#14171b",
    "card": "#1b1f25",
    "ink": "#e8eaed",
    "mut": "#a5adb8",
    "dim": "#6d7682",
    "line": "#2c323a",
    "good": "#5ab76c",
    "bad": "#f08080",
    "warn": "#e0a34a",
    "ok": "#7fd39a",
    "raises": "#e26a74",
    "lowers": "#68a4dc",
    "c0": "#5b8fc4",
    "c1": "#f07a89",
    "c2": "#228833",
    "c3": "#bb4490",
    "c4": "#ccbb44",
    "c5": "#8adcf5",
}

PALETTE = ("c0", "c1", "c2", "c3", "c4", "c5")
"""Colours of things without an order, such as communities, in both themes: Paul Tol's bright scheme, which the colour-blind can tell apart,
yellow and cyan darker on light paper, blue, red, purple and cyan lighter on dark."""

MINUS = "\N{MINUS SIGN}"
FONT = 'ui-sans-serif,system-ui,"Segoe UI",Roboto,sans-serif'

METHOD_NAMES: Mapping[str, str] = {
    "allocation": "Allocation",
    "banzhaf_value": "Banzhaf value",
    "deep_shap": "Deep SHAP",
    "deep_taylor": "Deep Taylor",
    "deeplift_rescale": "DeepLIFT Rescale",
    "deeplift_revealcancel": "DeepLIFT RevealCancel",
    "expected_gradients": "Expected gradients",
    "grad_cam": "Grad-CAM",
    "gradient_x_input": "Gradient \N{MULTIPLICATION SIGN} input",
    "gradient_x_input_at_baseline": "Gradient \N{MULTIPLICATION SIGN} input at the baseline",
    "integrated_gradients": "Integrated gradients",
    "kernel_shap": "Kernel SHAP",
    "lrp_alpha_beta": "LRP \N{GREEK SMALL LETTER ALPHA}\N{GREEK SMALL LETTER BETA}",
    "lrp_epsilon": "LRP \N{GREEK SMALL LETTER EPSILON}",
    "occlusion": "Occlusion",
    "occlusion_patch": "Occlusion (patch)",
    "saliency": "Saliency",
    "shapley_value": "Shapley value",
    "smooth_grad": "SmoothGrad",
}
"""How a method is called on a page; others have the underscores taken out of their name."""

LEAST_CONTRAST = 4.5
"""Of letters to what is behind them."""

TOLERANCE = 1e-2
"""A gap of this share of total - base is nothing to worry about."""

WARNING_SHARE = 1e-1
"""Above this share a method is said not to be complete."""

ABSORBERS: Mapping[str, str] = {"bias": "biases", "stabiliser": "stabilisers", "one_sided": "one-sided neurons"}
"""What takes relevance that reaches no player, in words; others by their own name."""

ROUNDING = 1e-6
"""Share of the largest number in the sum below which a gap is float32 rounding, however small total - base is."""


@dataclass(frozen=True)
class Verdict:
    """What a gap means.

    Attributes:
        level: ``ok``, ``warn``, ``bad``, or ``mut`` where there is nothing to judge; also the name of its colour.
        text: a few words.
    """

    level: str
    text: str


def gap_verdict(allocation: Allocation) -> Verdict:
    """Judge whether the values of one sample are complete: whether they add up to total - base.

    Args:
        allocation: of a single sample.

    Returns:
        ``mut`` where values came without base and total; ``ok`` up to 1 % of total - base or float32 rounding; ``warn`` up to 10 %, if the
        method says it did not converge, or if it keeps an account of all that its values lack; else ``bad``.
    """
    if not ends_are_known(allocation) and bool(allocation.values.isfinite().all()):
        return Verdict("mut", "gap not known: no base value and output")
    gap, relative = abs(float(allocation.gap)), float(allocation.relative_gap)
    if not math.isfinite(gap):
        return Verdict("bad", "incomplete: gap not a number")
    if allocation.converged is not None and not bool(allocation.converged):
        return Verdict("warn", f"not converged, gap {number(gap)}")
    largest = max(abs(float(allocation.base)), abs(float(allocation.total)), float(allocation.flat.abs().max()))
    if relative <= TOLERANCE or gap <= ROUNDING * largest:
        return Verdict("ok", f"gap {number(gap)}")
    if is_accounted_for(allocation):
        return Verdict("warn", _absorbed_text({where: float(part) for where, part in allocation.absorbed.items()}))
    if relative <= WARNING_SHARE:
        return Verdict("warn", f"gap {number(gap)} ({percent(relative)})")
    return Verdict("bad", f"incomplete: gap {number(gap)}")


def ends_are_known(allocation: Allocation) -> bool:
    """Whether the output with nobody and with everybody present is known, of one sample; maps of other libraries come without."""
    return not (math.isnan(float(allocation.base)) or math.isnan(float(allocation.total)))


def is_accounted_for(allocation: Allocation) -> bool:
    """Whether the values of one sample, and what a method says was absorbed on the way, add up to the output itself."""
    return bool(allocation.absorbed) and abs(float(allocation.unaccounted)) <= TOLERANCE * abs(float(allocation.total))


def _absorbed_text(parts: Mapping[str, float]) -> str:
    """``+0.41 absorbed by biases``; who took less than a hundredth of it is not named."""
    whole = sum(abs(part) for part in parts.values())
    names = [ABSORBERS.get(where, where.replace("_", " ")) for where, part in parts.items() if abs(part) >= TOLERANCE * whole]
    return f"{signed_number(sum(parts.values()))} absorbed by {' and '.join(names)}"


def method_name(name: str) -> str:
    """Readable name of a method, from its registered one."""
    pretty = name.replace("_", " ").strip()
    return METHOD_NAMES.get(name) or pretty[:1].upper() + pretty[1:] or "Allocation"


def number(value: float, *, digits: int = 3) -> str:
    """A number in few characters: ``0``, ``3e-07``, ``0.41``, ``1.44``, ``22,316``; so many digits, or one for the very small."""
    if math.isnan(value):
        return "not a number"
    sign, size = MINUS if value < 0 else "", abs(value)
    if math.isinf(size):
        return f"{sign}\N{INFINITY}"
    if size == 0:
        return "0"
    if size < 1e-3:
        return f"{sign}{size:.0e}"
    if size >= 1e9:
        return f"{sign}{size:.2e}"
    return f"{sign}{size:,.0f}" if size >= 99.5 else f"{sign}{size:.{digits}g}"


def signed_number(value: float) -> str:
    """A number with its sign, for columns: ``+1.90``, which keeps its zeros, and ``0``."""
    size = abs(value)
    words = f"{size:#.3g}" if 1e-3 <= size < 99.5 else number(size)
    return words if not size else f"{'+' if value > 0 else MINUS}{words}" if size == size else words


def percent(share: float) -> str:
    """A share as ``12.3 %``."""
    return f"{number(100 * share)} %"


def join_words(names: Sequence[str], last: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``; at least one name."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"


def pluralize(count: int, thing: str) -> str:
    """``1 evaluation``, ``22,316 evaluations``."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def diverging_colours(values: Float[ndarray, "*shape"], scale: float) -> UInt8[ndarray, "*shape 3"]:
    """Colours of values on the scale blue - paper - red.

    Args:
        values: in any unit.
        scale: positive; the value that is drawn in full red, and its negative in full blue. What lies beyond is clipped.

    Returns:
        Red, green and blue, 0 to 255; exactly ``BLUE``, ``PAPER`` and ``RED`` at -scale, 0 and +scale, ``NAN_COLOUR`` for NaN.
    """
    share = np.clip(np.nan_to_num(values / scale)[..., None], -1, 1)
    paper, end = np.array(PAPER, float), np.where(share < 0, np.array(BLUE, float), np.array(RED, float))
    colours: ndarray = np.rint(paper + np.abs(share) * (end - paper)).astype(np.uint8)
    colours[np.isnan(values)] = NAN_COLOUR
    return colours


def sequential_colours(values: Float[ndarray, "*shape"], scale: float) -> UInt8[ndarray, "*shape 3"]:
    """Colours of sizes on the scale from paper to ``STRONG``.

    Args:
        values: not negative.
        scale: positive; the size that is drawn in full. What lies beyond is clipped.
    """
    share = np.clip(np.nan_to_num(values / scale)[..., None], 0, 1)
    paper = np.array(PAPER, float)
    colours: ndarray = np.rint(paper + share * (np.array(STRONG, float) - paper)).astype(np.uint8)
    colours[np.isnan(values)] = NAN_COLOUR
    return colours


def to_hex(colour: RGB) -> str:
    """A colour as ``#2166ac``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def readable_on(colour: RGB) -> str:
    """The colour of letters on a ground: white where that is readable, else ink, else black; at least 4.5 to 1 (WCAG 2.2, 1.4.3)."""
    ground = _luminance(colour)
    if 1.05 / (ground + 0.05) >= LEAST_CONTRAST:
        return "#fff"
    return to_hex(INK) if (ground + 0.05) / (_luminance(INK) + 0.05) >= LEAST_CONTRAST else "#000"


def _luminance(colour: RGB) -> float:
    """Relative luminance of an sRGB colour, 0 to 1."""
    linear = [side / 12.92 if side <= 0.04045 else ((side + 0.055) / 1.055) ** 2.4 for side in (part / 255 for part in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def css_gradient() -> str:
    """The diverging scale as a CSS image."""
    return f"linear-gradient(90deg,{','.join(to_hex(colour) for colour in (BLUE, PAPER, RED))})"


def css_variables(theme: Mapping[str, str]) -> str:
    """A theme as CSS custom properties."""
    return "".join(f"--{name}:{value};" for name, value in theme.items())
