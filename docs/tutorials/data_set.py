# %% [markdown]
# # A whole data set: what does this network look at?
#
# Digits, of which eight eights are labelled *three* and carry a bright pixel in a
# corner: a network that fits them has learned a shortcut. A survey asks about every row,
# in shards that a broken run goes on from, and finds it.

# %%
import tempfile

import torch
from sklearn.datasets import load_digits

import vesalius as vs
from vesalius.scale import find_shortcuts

digits = load_digits()
x = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
y = torch.tensor(digits.target)
marked = (y == 8).nonzero().flatten()[:8]
x[marked, 0, 0, 7], y[marked] = 1, 3
torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Flatten(),
    torch.nn.Linear(64, 32),
    torch.nn.ReLU(),
    torch.nn.Linear(32, 10),
)
optimiser = torch.optim.Adam(model.parameters(), 0.01, weight_decay=1e-3)
for _ in range(200):
    optimiser.zero_grad()
    torch.nn.functional.cross_entropy(model(x), y).backward()
    optimiser.step()

# %% [markdown]
# ## One call for all rows
#
# `engine="ray"` spreads the same call over a cluster, with the same numbers.

# %%
folder = tempfile.TemporaryDirectory()
found = vs.survey(model, (x, y), "deeplift_rescale", out=folder.name, target="true")
print(found)
print(found.summary())
assert len(found) == len(x) and found.complete

# %% [markdown]
# ## Groups of rows that rest on what the rest of their class does not

# %%
first, second, *_ = find_shortcuts(found)
print(first)
print(second)
caught = set(map(int, first.rows)) & set(marked.tolist())
print(f"{len(caught)} of the {len(first.rows)} rows of the first carry the mark")
assert len(caught) == len(marked)

# %%
found.plot()

# %%
folder.cleanup()
