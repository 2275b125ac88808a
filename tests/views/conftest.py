"""Allocations with numbers that are easy to find again, and a reader of HTML that insists on balanced tags."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser

import pytest
import torch
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.players import Players

VOID = {"meta", "link", "br", "hr", "img", "input"}
EMPTY = {"rect", "image"}
"""SVG elements that always close themselves; lines, paths and circles may hold a title."""


class Page(HTMLParser):
    """Reads HTML; remembers elements with their attributes, and the text outside styles and scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in EMPTY, f"<{tag}> is not closed"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        """Attributes of all elements of a tag that have these attributes (``cls`` for class)."""
        wanted = {key.replace("cls", "class"): value for key, value in attributes.items()}
        return [found for name, found in self.elements if name == tag and wanted.items() <= found.items()]


@pytest.fixture
def read() -> Callable[[str], Page]:
    return Page


@pytest.fixture
def give() -> Callable[..., Allocation]:
    """An allocation of given values with a given gap, of a single sample."""

    def build(
        players: Players, values: Tensor | list[float], *, gap: float = 0.0, method: str = "shapley_value", **rest: object
    ) -> Allocation:
        values = torch.as_tensor(values, dtype=torch.float64).reshape(players.shape)
        base = torch.tensor(1.0, dtype=torch.float64)
        facts = {"method": method, "model": "digits", "digest": "ab12", "options": {"seed": 7}, **rest.pop("provenance", {})}
        defaults = {"evaluations": torch.tensor(64), "provenance": facts}
        return Allocation(players=players, values=values, base=base, total=base + values.sum() + gap, **{**defaults, **rest})

    return build


@pytest.fixture
def table(give) -> Allocation:
    """Three named features worth 3, -2 and 0.5, with standard errors."""
    players = Players.features(torch.zeros(3), names=("petal width", "sepal length", "petal length"))
    return give(players, [0.5, -2.0, 3.0], stderr=torch.tensor([0.1, 0.2, 0.3]))


@pytest.fixture
def pixels(give) -> Allocation:
    """An image of 2 by 3 pixels with values from -2 to 3."""
    return give(Players.features(torch.zeros(1, 2, 3)), [-2.0, -1, 0, 1, 2, 3], method="integrated_gradients")


@pytest.fixture
def stack() -> Callable[[Allocation, int], Allocation]:
    """A batch of the same sample, times 1, -1, 1 and so on; standard errors are left out."""

    def build(one: Allocation, samples: int) -> Allocation:
        sign = torch.ones(samples, dtype=torch.float64)
        sign[1::2] = -1
        values = sign.reshape(-1, *[1] * one.values.ndim) * one.values
        base = one.base.expand(samples)
        facts = {"players": one.players, "evaluations": torch.full((samples,), 64), "provenance": one.provenance}
        return Allocation(values=values, base=base, total=base + values.reshape(samples, one.players.n).sum(1), **facts)

    return build


@pytest.fixture
def batch(pixels, stack) -> Allocation:
    """Six samples of ``pixels``."""
    return stack(pixels, 6)
