# %% [markdown]
# # A text: which words made this verdict
#
# A classifier of sentences, trained here in a second. A string goes into every verb
# where there is a tokenizer; the result is a text with coloured words.

# %%
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

import vesalius as vs

praise, blame = (
    ["great", "wonderful", "moving", "funny"],
    ["dull", "boring", "awful", "weak"],
)
things = ["film", "story", "plot", "cast"]
pairs = [
    (a, c, b, d)
    for a in things
    for c in things
    for b, d in zip(praise, blame, strict=True)
]
good = [f"The {a} was {b}, and the {c} not {d}." for a, c, b, d in pairs]
bad = [f"The {a} was {d}, and the {c} not {b}." for a, c, b, d in pairs]
tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
special = ["[PAD]", "[UNK]", "[MASK]"]
trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special)
tokenizer.train_from_iterator(good + bad, trainer)


# %%
class Reviews(torch.nn.Module):
    """A convolution over three words, so that 'not dull' differs from 'dull'."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(words, 16)
        self.triples = torch.nn.Conv1d(16, 24, 3, padding=1)
        self.verdict = torch.nn.Linear(24, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.triples(self.embedding(ids).transpose(1, 2)))
        return self.verdict(h.mean(2))


torch.manual_seed(0)
model = Reviews(tokenizer.get_vocab_size())
ids = torch.tensor([tokenizer.encode(text).ids for text in good + bad])
labels = torch.tensor([1] * len(good) + [0] * len(bad))
optimiser = torch.optim.Adam(model.parameters(), 0.02)
for _ in range(40):
    optimiser.zero_grad()
    torch.nn.functional.cross_entropy(model(ids), labels).backward()
    optimiser.step()

# %% [markdown]
# ## Words as players
#
# Shapley values of words, with the token for padding in the place of those that are
# absent.

# %%
review = "The plot was awful, and the cast not funny."
asked = {"tokenizer": tokenizer, "classes": ["bad", "good"], "target": "good"}
found = vs.attribute(model, review, "shapley_value", players="word", **asked)
print(found)
assert abs(float(found.gap)) < 1e-4

# %%
found.plot()

# %% [markdown]
# ## What words do together
#
# *not funny* says more than *not* and *funny* do on their own.

# %%
together = vs.interactions(model, review, r"not|funny|awful", **asked)
for names, value in together.top(4):
    print(f"{value:+.2f}  {' & '.join(names)}")

# %%
together.plot()
