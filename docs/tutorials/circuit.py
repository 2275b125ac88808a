# %% [markdown]
# # A circuit: which heads of a transformer did it, and by which edges
#
# A transformer of two layers learns to say six tokens again. Heads are players; the
# edges between them make a circuit.

# %%
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import vesalius as vs
from vesalius import circuits

torch.manual_seed(0)
config = GPT2Config(
    vocab_size=16,
    n_positions=16,
    n_embd=32,
    n_layer=2,
    n_head=2,
    bos_token_id=0,
    eos_token_id=0,
    resid_pdrop=0,
    embd_pdrop=0,
    attn_pdrop=0,
)
model = GPT2LMHeadModel(config)


def repeated(count: int, generator: torch.Generator) -> torch.Tensor:
    """Sequences of six tokens, twice."""
    half = torch.rand(count, 16, generator=generator).argsort(1)[:, :6]
    return torch.cat([half, half], 1)


generator = torch.Generator().manual_seed(0)
optimiser = torch.optim.Adam(model.parameters(), 0.004)
for _ in range(300):
    ids = repeated(32, generator)
    optimiser.zero_grad()
    logits = model(ids).logits[:, 6:-1]
    torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), ids[:, 7:].flatten()
    ).backward()
    optimiser.step()
model.eval()
tested = repeated(200, generator)
right = (model(tested).logits[:, 6:-1].argmax(-1) == tested[:, 7:]).float().mean()
print(f"{float(right):.0%} of the second halves are continued rightly")

# %% [markdown]
# ## Heads as players
#
# The prompt ends where the repetition asks for its next token. An absent head does what
# it does on another prompt, and everything behind it is computed anew.

# %%
prompts, others = tested[:16, :9], repeated(16, generator)[:, :9]
answers = tested[:16, 9]
net = vs.trace(model, prompts[:1], output="logits")
heads = vs.Players.heads(net)
found = vs.attribute(
    net,
    prompts,
    "shapley_value",
    players=heads,
    target=(-1, answers),
    baseline=vs.Constant(others),
)
assert float(found.gap.abs().max()) < 1e-3
for name, value in zip(heads.names, found.values.mean(0).flatten().tolist(), strict=True):
    print(f"{name}  {value:+.2f}")

# %% [markdown]
# The heads of the first layer do it all. The repetition begins at the same place in every
# text, so that looking six places back is enough, and no second layer is needed.

# %%
found[0].plot()

# %% [markdown]
# ## Edges
#
# EAP-IG scores every edge of the residual stream; the curve says how many of them carry
# the behaviour.

# %%
one, other = prompts[:1], others[:1]
scores = circuits.eap_ig(net, one, other, target=(-1, int(answers[0])))
curve = circuits.faithfulness_curve(net, one, other, scores, target=(-1, int(answers[0])))
curve.plot()

# %%
circuit = circuits.circuit_of(
    net, one, other, scores, keep=12, target=(-1, int(answers[0]))
)
print(circuit)
circuit.plot()
