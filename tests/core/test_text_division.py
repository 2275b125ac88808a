"""Texts as players: every kind of tokenizer, every division, in the words of the text."""

import re

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import vesalius as vs
from tests.language.models import TOKENS, byte_tokenizer, piece_tokenizer, sentence_tokenizer
from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.core.text_division import Template
from vesalius.core.tokenization import continuation_ids, token_id, tokenize

TEXT = "The film was not so great! It was na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve."


def wrapped(tokenizer, **tokens):
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **tokens)


KINDS = {
    "bytes": byte_tokenizer,
    "pieces": piece_tokenizer,
    "sentencepiece": sentence_tokenizer,
    "transformers": lambda: wrapped(piece_tokenizer(), pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_are_the_text_as_it_was_written(kind):
    found = tokenize(TEXT, KINDS[kind]())
    assert "".join(piece for piece, special in zip(found.pieces, found.special, strict=True) if not special) == TEXT
    assert len(found.pieces) == len(found.ids)


@pytest.mark.parametrize("kind", KINDS)
def test_words_own_whole_tokens_and_have_no_marks(kind):
    players = vs.Players.text(TEXT, KINDS[kind](), "word")
    assert players.names == ("The", "film", "was", "not", "so", "great", "!", "It", "was", "na\u00efve", ".")
    assert players.kind == "words" and not any(mark in name for name in players.names for mark in ("\u0120", "\u2581", "##"))
    for player, name in enumerate(players.names):
        own = "".join(piece for piece, owner in zip(players.layout.pieces, players.layout.owners, strict=True) if owner == player)
        assert own.strip() == name


@pytest.mark.parametrize("kind", KINDS)
def test_sentences_and_patterns(kind):
    assert vs.Players.text(TEXT, KINDS[kind](), "sentence").names == ("The film was not so great!", "It was na\u00efve.")
    matches = vs.Players.text(TEXT, KINDS[kind](), re.compile(r"not so \w+"))
    assert matches.names == ("not so great",) and matches.kind == "matches"


def test_special_tokens_are_bystanders():
    players = vs.Players.text("the film", piece_tokenizer())
    assert players.names == ("the", "film") and players.index[0].tolist() == [-1, 0, 1, -1]
    several = vs.Players.text(["the film", "the great film"], KINDS["transformers"]())
    assert [one.index[0].tolist() for one in several.samples] == [[-1, 0, 1, -1, -1], [-1, 0, 1, 2, -1]]
    assert several.n == 3 and several.of(0).n == 2


def test_padding_goes_to_the_side_of_the_tokenizer():
    left = wrapped(byte_tokenizer(), pad_token="<pad>", padding_side="left")
    several = vs.Players.text(["the film", "the film was"], left)
    assert several.of(0).index[0][0] == -1
    given = left(["the film", "the film was"], padding=True, return_tensors="pt")
    assert len(several.of(0).index[0]) == given["input_ids"].shape[1]


def test_one_set_of_players_fits_ids_and_embeddings():
    players = vs.Players.text("the great film", byte_tokenizer(), "word")
    ids, wide = torch.zeros(len(players.index[0])), torch.rand(2, len(players.index[0]), len(players.index[0]))
    players.check([ids])
    players.check([wide[0]])
    whole = torch.stack([wide[:, players.index[0] == player].flatten(1).sum(1) for player in range(players.n)], 1)
    assert torch.allclose(players.gather([wide]), whole)
    masks = torch.eye(players.n).bool()
    kept = players.compose(masks, [wide[0]], [torch.zeros_like(wide[0])])[0]
    assert torch.allclose(kept.sum((1, 2)), whole[0])


def test_a_template_has_its_slots_for_players():
    text = Template("The {what} was {{so}} {how}!", {"what": "film", "how": "not great"})
    assert text == "The film was {so} not great!"
    players = vs.Players.text(text, byte_tokenizer())
    assert players.names == ("what", "how") and players.kind == "slots"
    owned = ["".join(p for p, o in zip(players.layout.pieces, players.layout.owners, strict=True) if o == i).strip() for i in (0, 1)]
    assert owned == ["film", "not great"]


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ({"what": "film"}, "has no words"),
        ({"what": "a", "how": "b", "so": "c"}, "has no slot"),
        ({"what": " ", "how": "b"}, "has no words"),
    ],
)
def test_wrong_templates(words, match):
    with pytest.raises(InvalidInput, match=match):
        Template("The {what} was {how}", words)


def test_ids_with_a_tokenizer_or_with_names():
    ids = piece_tokenizer().encode("the film").ids
    players = vs.Players.text(torch.tensor([*ids, 0, 0]), piece_tokenizer())
    assert players.names == ("the", "film") and players.index[0].tolist() == [-1, 0, 1, -1, -1, -1]
    assert vs.Players.text([1, 3, 1], TOKENS).names == ("a", "c", "a")
    assert vs.Players.text("a c a", {name: place for place, name in enumerate(TOKENS)}).names == ("a", "c", "a")


def test_a_tokenizer_without_offsets_is_searched_for():
    class Slow:
        is_fast, all_special_ids, pad_token_id = False, [0], 0
        words = ("<pad>", "the", "\u2581film", "great")

        def __call__(self, text, return_special_tokens_mask):
            ids = [next(i for i, word in enumerate(self.words) if word.strip("\u2581") == part) for part in text.lower().split()]
            return {"input_ids": ids, "special_tokens_mask": [0] * len(ids)}

        def convert_ids_to_tokens(self, ids):
            return [self.words[i] for i in ids] if isinstance(ids, list) else self.words[ids]

        def convert_tokens_to_string(self, tokens):
            return " ".join(tokens).replace("\u2581", " ").strip()

        def get_vocab(self):
            return {word: place for place, word in enumerate(self.words)}

    assert vs.Players.text("The great film", Slow()).names == ("The", "great", "film")
    Slow.words = ("<pad>", "the", "film", "other")
    Slow.__call__ = lambda self, text, return_special_tokens_mask: {"input_ids": [1, 3], "special_tokens_mask": [0, 0]}
    with pytest.raises(InvalidInput, match="does not say where its tokens stand"):
        vs.Players.text("the great", Slow())


def test_a_character_of_several_tokens_is_shown_once():
    players = vs.Players.text("so \N{UPSIDE-DOWN FACE} so", byte_tokenizer())
    assert "".join(players.layout.pieces) == "so \N{UPSIDE-DOWN FACE} so" and all(players.names)
    assert vs.Players.text("so \N{UPSIDE-DOWN FACE} so", byte_tokenizer(), "word").n == 3


@pytest.mark.parametrize(
    ("text", "by", "error", "match"),
    [
        ("", "token", InvalidInput, "the text is empty"),
        (" \n", "token", InvalidInput, "the text is empty"),
        ("[PAD] [SEP]", "token", InvalidInput, "only special tokens"),
        ([], "token", InvalidInput, "no ids"),
        ([99999], "token", InvalidInput, "another vocabulary"),
        ("the film", "words", UnknownName, "did you mean 'word'"),
        ("the film", "xyz", InvalidInput, "matches nothing"),
        ("the film", "(", InvalidInput, "is no pattern"),
        ("the film", 3, WrongType, "by is a word"),
        (3.5, "token", WrongType, "a text is a string"),
    ],
)
def test_wrong_texts(text, by, error, match):
    with pytest.raises(error, match=match):
        vs.Players.text(text, piece_tokenizer(), by)


def test_wrong_tokenizers():
    with pytest.raises(WrongType, match="a tokenizer is"):
        vs.Players.text("the film", object())
    cut = byte_tokenizer().from_str(byte_tokenizer().to_str())
    cut.enable_truncation(2)
    with pytest.raises(InvalidInput, match="cuts the text to 2"):
        vs.Players.text("the great film was good", cut)


def test_tokens_by_string_and_id():
    tokenizer = byte_tokenizer()
    great = tokenizer.encode(" great").ids[0]
    assert token_id(" great", tokenizer) == token_id("\u0120great", tokenizer) == token_id(great, tokenizer) == great
    with pytest.raises(InvalidInput, match="and one is meant here"):
        token_id(" great film", tokenizer)
    with pytest.raises(InvalidInput, match="unknown to this vocabulary"):
        token_id("zebra", piece_tokenizer())
    with pytest.raises(InvalidInput, match="no tokenizer is known"):
        token_id(" great", None)


def test_players_of_texts_are_kept_in_files(tmp_path):
    players = vs.Players.text(["the film", "a great movie"], byte_tokenizer(), "word")
    values = torch.tensor([[1.0, 2.0, 0.0], [1.0, 2.0, 3.0]])
    whole = vs.Allocation(players=players, values=values, base=torch.zeros(2), total=values.sum(1))
    kept = vs.Allocation.load(whole.save(tmp_path / "a.safetensors"))
    assert kept[0].players.names == ("the", "film") and kept[0].values.tolist() == [1.0, 2.0]
    assert kept[1].players.layout == players.of(1).layout and [len(one.values) for one in kept] == [2, 3]
    assert kept[[1]].players.names == ("a", "great", "movie")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("e\N{COMBINING ACUTE ACCENT}tude cafe\N{COMBINING ACUTE ACCENT}!", ("e\u0301tude", "cafe\u0301", "!")),
        ("\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941", ("\u0928\u092e\u0938\u094d\u0924\u0947", "\u0926\u0941")),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",)),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467 well-known", ("\U0001f468\u200d\U0001f469\u200d\U0001f467", "well-known")),
    ],
)  # fmt: skip
def test_marks_belong_to_the_letters_before_them(text, words):
    assert vs.Players.text(text, byte_tokenizer(), "word").names == words


def test_bytes_of_one_character_are_shown_as_it_and_as_bytes():
    tokenizer = byte_tokenizer()
    text = "\N{GRINNING FACE} a"
    names = vs.Players.text(text, tokenizer).names
    assert names[0] == "\N{GRINNING FACE}" and all(
        re.fullmatch(r"(<0x[0-9A-F]{2}>)+", name) for name in names[1:-1] if name.strip() not in ("", "a")
    )
    again = tokenize(tokenizer.encode(text).ids, tokenizer)
    assert again.text == text and "".join(again.pieces) == text


def test_a_space_that_a_tokenizer_puts_before_a_text_is_no_part_of_it():
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), ("\N{LOWER ONE EIGHTH BLOCK}", -1.0), ("a", -2.0), ("b", -2.0)], unk_id=0))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    found = tokenize("ab a", tokenizer)
    assert found.pieces == ("", "a", "b", " ", "a")
    assert vs.Players.text("ab a", tokenizer).names == (" ", "a", "b", " ", "a")
    assert continuation_ids("the film", "was", piece_tokenizer()) == tokenize("was", piece_tokenizer()).ids[1:-1]  # and not "filmwas"
    assert continuation_ids("a", "b", tokenizer) == (3,) and continuation_ids("a", " b", tokenizer) == (1, 3)


def test_special_tokens_that_are_written_in_a_text_belong_to_nobody():
    found = vs.Players.text("[MASK] film [MASK] film", wrapped(piece_tokenizer(), mask_token="[MASK]"), "token")
    assert "film" in found.names and not any("[MASK]" in name for name in found.names)
