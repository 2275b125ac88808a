# %% [markdown]
# # A method of your own
#
# A method is a frozen dataclass with one function from a question to an allocation.
# Once it is registered, every verb knows it by name: it has a page, an audit and a
# contract that it can be held to.

# %%
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

import vesalius as vs
from vesalius.audit import check_method
from vesalius.methods import Method, register
from vesalius.methods.base import base_and_total
from vesalius.methods.straight_path import StraightPath, feature_allocation

# %% [markdown]
# Integrated gradients with two steps, at the nodes of Gauss and Legendre. `claims` says
# what it promises; `check_method` tries to break the promise.


# %%
@register
@dataclass(frozen=True, kw_only=True)
class TwoPointGradients(Method):
    """(x - b) times the mean gradient at the two nodes of Gauss and Legendre."""

    name: ClassVar[str] = "two_point_gradients"
    claims: ClassVar[frozenset[str]] = frozenset({"dummy", "linear", "sensitive"})

    def allocate(self, question: Any, absence: Any) -> vs.Allocation:
        question.require_differentiable(self.name)
        fills = absence.fill(question)
        base, total = base_and_total(question, fills)
        path = StraightPath(question, tuple(fill.mean(1) for fill in fills))
        slopes = torch.stack(
            [
                torch.cat([slope for _, _, slope in path.gradients(*path.at_time(time))])
                for time in (0.2113249, 0.7886751)
            ]
        )
        evaluations = torch.full((question.batch,), 2 + fills[0].shape[1])
        return feature_allocation(
            question,
            slopes.mean(0) * path.direction,
            base,
            total,
            evaluations=evaluations,
        )


print(check_method("two_point_gradients"))

# %% [markdown]
# ## How good is it?
#
# On a smooth network two steps are nearly enough. The audit says what is missing.

# %%
torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2)
)
x = torch.randn(6)
judged = vs.audit(
    model,
    x,
    target=1,
    methods=["two_point_gradients", "integrated_gradients", "gradient_x_input"],
)
print(judged)
assert judged["two_point_gradients"].error < judged["gradient_x_input"].error

# %%
vs.attribute(model, x, "two_point_gradients", target=1).plot()
