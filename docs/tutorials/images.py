# %% [markdown]
# # Pictures: pixels, patches and layers
#
# A small convolutional network on the digits of scikit-learn, trained in a second.
# Where did it look, which parts of the picture would have changed its mind, and which
# of sixteen methods should one believe?

# %%
import matplotlib.pyplot as plt
import torch

import vesalius as vs
from vesalius.data.models import trained

digits = trained("digits_cnn")
images, labels = digits.data.test_x, digits.data.test_y
net = vs.trace(digits.model, images[:1])
net

# %% [markdown]
# ## Three methods, one digit
#
# Red raised the score of the class, blue lowered it. Each method has a scale of its
# own; the gap stands in the printed result.

# %%
image, label = images[3], int(labels[3])
figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
for ax, method in zip(
    axes, ("integrated_gradients", "deeplift_rescale", "lrp_epsilon"), strict=True
):
    vs.attribute(net, image, method, target=label).plot(ax=ax, title=method)

# %% [markdown]
# ## Patches as players
#
# Shapley values of patches ask the network itself, again and again, with patches
# missing. 16 patches have 65,536 coalitions; 1,600 of them, well chosen, do, and the
# error that is left is told (`stderr`).

# %%
patches = vs.Players.patches(image, 2)
shapley = vs.attribute(net, image, "shapley_value", target=label, players=patches)
print(shapley)
print("largest standard error:", float(shapley.stderr.max()))
assert abs(float(shapley.gap)) < 1e-3

# %%
shapley.plot()

# %% [markdown]
# ## What pixels do together, and an audit
#
# All methods are held to the three principles on the same picture.

# %%
judged = vs.audit(
    net,
    image,
    patches,
    target=label,
    methods=[
        "shapley_value",
        "deeplift_rescale",
        "integrated_gradients",
        "occlusion",
        "gradient_x_input",
    ],
)
judged.plot()

# %% [markdown]
# ## Inside
#
# `at=` moves the question to a layer: how much did each channel of the second
# convolution count?

# %%
inside = vs.attribute(
    net, images[:50], "deeplift_rescale", target=labels[:50], at="conv2"
)
channels = inside.values.sum((2, 3)).abs().mean(0)
print(
    "channels of conv2, by what they count:", channels.argsort(descending=True).tolist()
)
assert channels.shape == torch.Size([16])
