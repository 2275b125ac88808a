# %% [markdown]
# # A smaller autoencoder that explains itself
#
# Nine of ten links of an autoencoder of digits are taken away. Which stay is decided by
# Shapley values of links; what is left is refitted in closed form, without a gradient
# step.

# %%
import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_digits

import vesalius as vs
from vesalius.models import Autoencoder, AutoencoderTraining, fit

pictures = torch.tensor(load_digits().data, dtype=torch.float32) / 16
train, test = pictures[:1400], pictures[1400:]
torch.manual_seed(0)
model = fit(
    Autoencoder([64, 32, 8]), train, training=AutoencoderTraining(epochs=150, rate=0.01)
).model


@torch.no_grad()
def error(network: torch.nn.Module) -> float:
    """Mean squared error of reconstruction, as a share of that of the mean picture."""
    return float(
        (network(test) - test).square().mean() / (test - train.mean(0)).square().mean()
    )


print(f"dense: {error(model):.3f}")

# %% [markdown]
# ## What every link is worth
#
# The value of each link for its unit, averaged over the pictures.

# %%
importance = vs.link_importance(model, train)
importance

# %% [markdown]
# ## Ninety percent gone

# %%
thin = vs.sparsify(model, train, sparsity=0.9)
print(thin)
print(f"pruned and refitted: {error(thin.model):.3f}")

# %%
thin.plot()

# %% [markdown]
# ## Really smaller
#
# Masks save nothing. `compact` removes what is not needed, tries sparse layouts, and
# measures each here.

# %%
small = thin.compact(rows=test, batches=(1, 64))
print(small)
assert (small.model(test) - thin.model(test)).abs().max() < 1e-4

# %% [markdown]
# The file needs nothing of this library to be opened again but the model's class.

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(small.export(f"{folder}/small.safetensors"))
    print(f"{path.stat().st_size:,} bytes")
