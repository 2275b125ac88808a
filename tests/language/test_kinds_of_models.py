"""Texts for models that fill masks, classify tokens, or read more than a text."""

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import PreTrainedTokenizerFast

import vesalius as vs
from vesalius.core.errors import InvalidInput
from vesalius.language import NextTokenLogit

WORDS = ("[PAD]", "[MASK]", "the", "film", "was", "great", "dull")


@pytest.fixture(scope="module")
def tokenizer():
    made = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[PAD]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[PAD]", mask_token="[MASK]")


class Pairs(nn.Module):
    """Scores at each position of the token there and of all others, by the kinds of both."""

    def __init__(self, outputs):
        super().__init__()
        self.words, self.kinds, self.out = nn.Embedding(len(WORDS), 6), nn.Embedding(2, 6), nn.Linear(6, outputs)

    def forward(self, input_ids, token_type_ids=None):
        x = self.words(input_ids)
        if token_type_ids is not None:
            x = x + self.kinds(token_type_ids)
        return self.out(torch.tanh(x + x.mean(1, keepdim=True)))


class FillForMaskedLM(Pairs):
    """One that fills masks."""


@pytest.fixture(scope="module")
def filling():
    torch.manual_seed(0)
    return FillForMaskedLM(len(WORDS)).eval()


@pytest.mark.parametrize("target", [None, "great", NextTokenLogit("great")])
def test_a_mask_is_explained_where_it_stands(filling, tokenizer, target):
    text = "the [MASK] was dull"
    found = vs.attribute(filling, text, "shapley_value", tokenizer=tokenizer, target=target)
    with torch.no_grad():
        logits = filling(torch.tensor([tokenizer(text)["input_ids"]]))[0, 1]
    wanted = logits.max() if target is None else logits[WORDS.index("great")]
    assert float(found.total) == pytest.approx(float(wanted), abs=1e-5)


def test_what_is_masked_has_to_be_said(filling, tokenizer):
    with pytest.raises(InvalidInput, match="says what stands at a mask, and the text has none"):
        vs.attribute(filling, "the film was dull", "occlusion", tokenizer=tokenizer)
    with pytest.raises(InvalidInput, match=r"masks at \[1, 3\], and one is explained at a time"):
        vs.attribute(filling, "the [MASK] was [MASK]", "occlusion", tokenizer=tokenizer)
    named = vs.attribute(filling, "the film was dull", "occlusion", tokenizer=tokenizer, target=(2, 5))
    assert named.values.shape == (4,)


def test_classes_of_tokens_are_not_taken_for_tokens(tokenizer):
    torch.manual_seed(0)
    model = Pairs(3).eval()
    with pytest.raises(InvalidInput, match=r"3 numbers at each of 4 positions, and there are 7 tokens.*target=\(position, class\)"):
        vs.attribute(model, "the film was dull", "occlusion", tokenizer=tokenizer)
    found = vs.attribute(model, "the film was dull", "occlusion", tokenizer=tokenizer, target=(1, 2))
    assert float(found.total) == pytest.approx(float(model(torch.tensor([[2, 3, 4, 6]]))[0, 1, 2].detach()), abs=1e-5)


def test_inputs_beside_the_ids_are_not_dropped(filling, tokenizer):
    rows = {"input_ids": torch.tensor([[2, 3, 4, 6]]), "token_type_ids": torch.tensor([[0, 0, 1, 1]])}
    with pytest.raises(InvalidInput, match="beside the ids came 'token_type_ids', which the model reads"):
        vs.attribute(filling, rows, "occlusion", tokenizer=tokenizer, target=(1, 2))
    plain = {**rows, "token_type_ids": torch.zeros(1, 4, dtype=torch.long)}
    assert vs.attribute(filling, plain, "occlusion", tokenizer=tokenizer, target=(1, 2)).values.shape == (1, 4)


def test_chats_and_pairs_of_texts_are_refused_with_what_to_do(filling, tokenizer):
    chat = [{"role": "user", "content": "the film"}]
    with pytest.raises(InvalidInput, match=r"tokenizer.apply_chat_template\(messages"):
        vs.attribute(filling, chat, "occlusion", tokenizer=tokenizer)

    class Pipeline:
        task, model = "zero-shot-classification", filling

    Pipeline.tokenizer = tokenizer
    with pytest.raises(InvalidInput, match="puts a question or a hypothesis beside every text"):
        vs.attribute(Pipeline(), "the film", "occlusion")


class AnswersForConditionalGeneration(Pairs):
    """One with a decoder of its own."""

    def forward(self, input_ids, decoder_input_ids=None):
        return super().forward(decoder_input_ids if decoder_input_ids is not None else input_ids)


def test_a_model_of_two_texts_is_refused(tokenizer):
    with pytest.raises(InvalidInput, match="reads two texts, one in its encoder and one in its decoder"):
        vs.attribute(AnswersForConditionalGeneration(7).eval(), "the film", "occlusion", tokenizer=tokenizer)
