"""Models of language whose answers are known by hand, and tokenizers made on the spot."""

from functools import cache

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn

TOKENS = ("_", "a", "b", "c", "d", "e", "f")
TEXT = "e b c d a e f b"
"""b ... b: after the first b comes c, and so it is to come after the second."""
QUERY, KEY, VALUE = 7, 1, 2
"""Positions of the three tokens that decide."""


class Induction(nn.Module):
    """The two layers of an induction circuit, exactly: what stands before each position is looked up by place, and what was said there is
    repeated in proportion to softmax(beta * match). With every token but three free to be anything, the logit of a token is

        sum over positions t of softmax_t(beta <x_T, x_{t-1}>) x_t
    """

    def __init__(self, beta=5.0, positions=8):
        super().__init__()
        self.wte = nn.Embedding(len(TOKENS), len(TOKENS))
        self.wte.weight.data = torch.eye(len(TOKENS), dtype=torch.float64)
        self.wte.weight.data[0] = 0
        self.beta, self.positions = beta, positions

    def forward(self, ids):
        x = self.wte(ids)
        before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)
        match = self.beta * (before @ x[:, -1:].transpose(1, 2))
        return (match.softmax(1) * x).sum(1)


class Recall(nn.Module):
    """A causal model of any length up to ``positions``, which needs its mask: logits at every position, of tokens it has seen."""

    def __init__(self, tokens, width=8, positions=32):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.wte, self.wpe = nn.Embedding(tokens, width), nn.Embedding(positions, width)
        for table in (self.wte, self.wpe):
            table.weight.data = torch.randn(table.weight.shape, generator=generator, dtype=torch.float64) / 2
        self.config = type("Config", (), {"max_position_embeddings": positions})()

    def forward(self, input_ids, attention_mask):
        x = self.wte(input_ids) + self.wpe(torch.arange(input_ids.shape[1], device=input_ids.device))
        scores = x @ x.transpose(1, 2)
        count = input_ids.shape[1]
        hidden = torch.ones(count, count, dtype=torch.bool, device=x.device).triu(1) | (attention_mask[:, None, :] == 0)
        mixed = x + scores.masked_fill(hidden, -1e9).softmax(-1) @ x
        return torch.tanh(mixed) @ self.wte.weight.T


class Mood(nn.Module):
    """A classifier of two classes that takes the mean over what is no padding."""

    def __init__(self, tokens):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.embedding = nn.Embedding(tokens, 6)
        self.hidden, self.head = nn.Linear(6, 6, dtype=torch.float64), nn.Linear(6, 2, dtype=torch.float64)
        self.embedding.weight.data = torch.randn(tokens, 6, generator=generator, dtype=torch.float64)
        self.hidden.weight.data = torch.randn(6, 6, generator=generator, dtype=torch.float64)
        self.head.weight.data = torch.randn(2, 6, generator=generator, dtype=torch.float64)
        self.config = type("Config", (), {"id2label": {0: "bad", 1: "good"}})()

    def forward(self, input_ids, attention_mask=None):
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        x = torch.tanh(self.embedding(input_ids)) * mask[..., None]
        return self.head(torch.tanh(self.hidden(x.sum(1) / mask.sum(1, keepdim=True))))


CORPUS = [
    "the film was great",
    "the movie was not good at all",
    "a great movie, a good film",
    "it was bad. so bad! na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve",
]


@cache
def byte_tokenizer():
    """Byte-pair encoding as GPT-2 has it."""
    found = Tokenizer(models.BPE(unk_token=None))
    found.pre_tokenizer, found.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    found.train_from_iterator(CORPUS * 3, trainers.BpeTrainer(vocab_size=320, special_tokens=["<pad>", "<eos>"], initial_alphabet=alphabet))
    return found


@cache
def piece_tokenizer():
    """Word pieces between [CLS] and [SEP], as BERT has them."""
    found = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    found.pre_tokenizer, found.decoder = pre_tokenizers.Whitespace(), decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    found.train_from_iterator(CORPUS * 3, trainers.WordPieceTrainer(vocab_size=60, special_tokens=special))
    found.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return found


@cache
def sentence_tokenizer():
    """Pieces with the mark of SentencePiece for a space."""
    found = Tokenizer(models.BPE(unk_token="<unk>"))
    found.pre_tokenizer, found.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    found.train_from_iterator(CORPUS * 3, trainers.BpeTrainer(vocab_size=80, special_tokens=["<unk>", "<s>", "</s>"]))
    return found
