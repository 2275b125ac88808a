# %% [markdown]
# # A table: which columns decided, alone and together
#
# A network on the measurements of tumours (scikit-learn's breast cancer data),
# explained from a DataFrame: which columns speak for *malignant*, which of them only
# together, and whether the method can be believed on this network.

# %%
import pandas
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

import vesalius as vs

data = load_breast_cancer(as_frame=True)
columns = [
    "mean radius",
    "mean texture",
    "mean smoothness",
    "mean concavity",
    "mean symmetry",
    "worst radius",
    "worst texture",
    "worst concavity",
]
table = pandas.DataFrame(
    StandardScaler().fit_transform(data.data[columns]), columns=columns
)
malignant = torch.tensor(1 - data.target.to_numpy())

# %% [markdown]
# Any `nn.Module` will do, and any loop to train it.

# %%
torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 2)
)
x = torch.tensor(table.to_numpy(), dtype=torch.float32)
optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
for _ in range(150):
    optimiser.zero_grad()
    torch.nn.functional.cross_entropy(model(x[:400]), malignant[:400]).backward()
    optimiser.step()
accuracy = float((model(x[400:]).argmax(1) == malignant[400:]).float().mean())
print(f"{accuracy:.0%} of the tumours that were held out are classified rightly")

# %% [markdown]
# ## One patient
#
# The score of *malignant* for one row, against the mean of all rows. The result prints
# its completeness error: what the values fail to add up to.

# %%
patient = table.iloc[[410]]
why = vs.attribute(
    model,
    patient,
    "shapley_value",
    target="malignant",
    classes=["benign", "malignant"],
    baseline=vs.Mean(table),
)[0]
print(why)

# %%
why.plot()

# %% [markdown]
# ## What columns do together
#
# All 255 effects of groups of columns (Harsanyi dividends) that these values share out.
# Those of two columns that are far from zero say where the network is not a sum.

# %%
effects = vs.interactions(model, patient.iloc[0], target=1, baseline=vs.Mean(table))
for names, value in effects.top(5):
    print(f"{value:+.3f}  {' & '.join(names)}")

# %% [markdown]
# ## Can it be believed?
#
# The audit runs methods on all 256 masked rows and measures what each leaves out,
# counts twice, or gives to columns that took no part.

# %%
judged = vs.audit(
    model,
    patient.iloc[0],
    target=1,
    baseline=vs.Mean(table),
    methods=["shapley_value", "deeplift_rescale", "gradient_x_input"],
)
print(judged)
assert judged["shapley_value"].error < 1e-4 < judged["gradient_x_input"].error

# %% [markdown]
# ## All patients
#
# One call for all rows; the result is a table again.

# %%
everybody = vs.attribute(
    model, table, "deeplift_rescale", target=1, baseline=vs.Mean(table)
)
everybody.to_dataframe().abs().mean().sort_values(ascending=False)
