# %% [markdown]
# # Information flow in a residual network
#
# Which neurons say anything about the class, and by which path does it get there? A
# residual network on digits: the graph has the skips that the network has.

# %%
import torch
from sklearn.datasets import load_digits
from torch import nn

import vesalius as vs


class Block(nn.Module):
    """Two layers beside a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.second(torch.relu(self.first(x))))


digits = load_digits()
x, y = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
torch.manual_seed(0)
model = nn.Sequential(
    nn.Linear(64, 16), nn.ReLU(), Block(16), Block(16), nn.Linear(16, 10)
)
optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
for _ in range(150):
    optimiser.zero_grad()
    nn.functional.cross_entropy(model(x[:1400]), y[:1400]).backward()
    optimiser.step()
right = float((model(x[1400:]).argmax(1) == y[1400:]).float().mean())
print(f"{right:.0%} right on digits that were held out")

# %% [markdown]
# ## The graph
#
# Mutual information between the units of layers that read each other, with a test of
# every edge at a false discovery rate of 5 %.

# %%
flow = vs.information_flow(model, (x[:1400], y[:1400]))
print(flow)

# %%
flow.plot()

# %% [markdown]
# ## Which units can go?
#
# Units that carry none of the flow from the pixels to the classes, each with the reason.
# The check is the network itself: with them at zero, it says what it said.

# %%
idle = flow.prunable()
for layer, units in idle.items():
    print(layer, units)

layers = {"0": model[0], "2.first": model[2].first, "3.first": model[3].first}
before = model(x[1400:])
with torch.no_grad():
    for name, units in idle.items():
        for unit in units:
            layers[name].weight[unit], layers[name].bias[unit] = 0, 0
same = (model(x[1400:]).argmax(1) == before.argmax(1)).float().mean()
print(f"{float(same):.0%} of the answers are the same without them")
assert same > 0.99
