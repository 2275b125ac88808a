"""What a disentangled feature says, in words."""

from __future__ import annotations

from vesalius.complexity.components import Complexity
from vesalius.complexity.orders import order_bands
from vesalius.complexity.profile import ComponentProfile
from vesalius.views import style

HEADING = "Feature complexity"
BUDGET = (
    "An order is a budget, not a property of the feature: nets of so many nonlinear layers needed no more to predict it so well ({}). What"
    " wider nets, or more rows, could do with fewer layers is not known."
)
PICTURE_HEADING = "Components of a feature"
COMPARISON_HEADING = "One feature in several networks"


def summary(found: Complexity) -> str:
    """The finding, in a few sentences: what nets of each depth explain, with errors, and which of it stands clear of them."""
    gain, rest = found.table()["gain"], found.table()["r2"]
    bands = order_bands(found.orders)
    known = list(zip(bands, gain.values.tolist(), gain.stderr.tolist(), strict=True))
    shares = [f"{_band_phrase(band)} {_share(value, error)}" for band, value, error in known if value > 0]
    if not shares:
        return f"No order explains any of {found.at} on rows not trained on."
    left = f"; {_share(1 - float(rest.values[-1]), float(rest.stderr[-1]))} is unexplained (rest)"
    faint = [band for band, value, error in known if 0 < value < 2 * error]
    doubt = f" What order {style.join_words(faint)} adds is within two standard errors of nothing." if faint else ""
    return f"Of the variance of {found.at} on rows not trained on, {style.join_words(shares)}{left}.{doubt}"


def _band_phrase(band: str) -> str:
    if band == "0":
        return "a linear map of the input explains"
    return f"nets of {band} nonlinear layer{'' if band == '1' else 's'} add"


def _share(value: float, error: float) -> str:
    """A share and its standard error, in percent."""
    told = f"{100 * value:.1f}".replace("-", style.MINUS)
    return f"{told} %" if error != error else f"{told} \N{PLUS-MINUS SIGN} {100 * error:.1f} %"


def facts(found: Complexity) -> dict[str, str]:
    """What it rests on."""
    known, rows = found.provenance, found.provenance.get("rows", {})
    cost = known.get("cost", {})
    seconds = cost.get("seconds") if isinstance(cost, dict) else None
    return {
        "feature": found.at,
        **({"measured on": f"{style.pluralize(int(rows['held']), 'row')} of {int(rows['all']):,}, not trained on"} if rows else {}),
        "seeds": str(len(found.nets)),
        "unexplained": style.percent(float(found.residual.mean())),
        **({"took": f"{style.number(float(seconds))} s"} if seconds else {}),
    }


def _trained_words(found: Complexity) -> str:
    options, rows = found.provenance.get("options", {}), found.provenance.get("rows", {})
    width, train = options.get("width") if isinstance(options, dict) else None, rows.get("train")
    ended = found.provenance.get("width")
    searched = f"; a width of {ended}" if isinstance(ended, str) and ended[:1].isdigit() else ""
    return f"width {width}, {train:,} rows{searched}" if isinstance(width, int) and isinstance(train, int) else "this width, on these rows"


def _time_words(found: Complexity) -> list[str]:
    """What is left of each component when the net before it is trained for as long again."""
    if found.time_matched_gain is None:
        return []
    gain, told = found.time_matched_gain, []
    for band, column in zip(order_bands(found.orders), gain.T, strict=True):
        known = column[~column.isnan()]
        if len(known):
            told.append(f"{100 * float(known.mean()):.1f} % for {band}".replace("-", style.MINUS))
    if not told:
        return []
    return [f"Beyond the net of the order before when that alone is trained for as long again, there is left {style.join_words(told)}."]


def notes(profile: ComponentProfile) -> list[str]:
    """What must be known before these numbers are believed."""
    found = profile.complexity
    told = [BUDGET.format(_trained_words(found)), *_time_words(found)]
    alone = [band for band, kept in zip(order_bands(found.orders), found.kept.any(0).tolist(), strict=True) if not kept]
    if alone:
        told.append(f"Nothing of order {style.join_words(alone)} was found: a deeper net was no better on rows it had not seen.")
    if profile.coalitions is not None:
        told.append(
            "Effectiveness is each component's Shapley value for the fall of the training loss, over-fitting its Shapley value for the"
            " difference of test and training loss; bars are two standard errors."
        )
    return told
