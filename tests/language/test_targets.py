"""Targets of language against their formulas, and texts through every verb."""

from functools import cache

import numpy as np
import pytest
import torch

import vesalius as vs
from tests.language.models import CORPUS, KEY, QUERY, TEXT, TOKENS, VALUE, Induction, Mood, Recall, byte_tokenizer, piece_tokenizer
from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.language import Continuation, LogitDifference, LogProbability, NextTokenLogit, PerToken, Probability, Template

OUTPUT = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def by_hand(tokens):
    """log p of each token, one softmax at a time."""
    places = range(5 - len(tokens) - 1, 4)
    rows = [[OUTPUT[n, t, k] - OUTPUT[n, t].exp().sum().log() for t, k in zip(places, tokens, strict=True)] for n in range(3)]
    return torch.stack([torch.stack(row) for row in rows])


def test_targets_are_what_they_are_called():
    last = OUTPUT[:, -1]
    assert torch.equal(NextTokenLogit(4)(OUTPUT), last[:, 4]) and torch.equal(NextTokenLogit(4, -2)(OUTPUT), OUTPUT[:, -2, 4])
    assert torch.equal(NextTokenLogit(4)(last), last[:, 4])
    torch.testing.assert_close(LogProbability(4)(OUTPUT), last[:, 4] - last.exp().sum(1).log())
    torch.testing.assert_close(Probability(4)(OUTPUT), last[:, 4].exp() / last.exp().sum(1))
    torch.testing.assert_close(LogitDifference(4, 2)(OUTPUT), last[:, 4] - last[:, 2])
    torch.testing.assert_close(Continuation([1, 6, 3])(OUTPUT), by_hand([1, 6, 3]).sum(1))
    torch.testing.assert_close(Continuation([1, 6], "probability")(OUTPUT), by_hand([1, 6]).sum(1).exp())
    torch.testing.assert_close(Continuation([1, 6], "logit")(OUTPUT), OUTPUT[:, 2, 1] + OUTPUT[:, 3, 6])
    torch.testing.assert_close(PerToken([1, 6, 3]).of_all(OUTPUT), by_hand([1, 6, 3]))


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: Continuation(""), InvalidInput, "is empty"),
        (lambda: Continuation([]), InvalidInput, "is empty"),
        (lambda: Continuation([1.5]), WrongType, "a list of ids"),
        (lambda: Continuation("a", "odds"), UnknownName, "unit of a target"),
        (lambda: PerToken(0), InvalidInput, "tokens to generate"),
        (lambda: NextTokenLogit(" a")(OUTPUT), InvalidInput, "no tokenizer is known"),
        (lambda: NextTokenLogit(-1)(OUTPUT), InvalidInput, "begin at 0"),
        (lambda: NextTokenLogit(1.5)(OUTPUT), WrongType, "a token is"),
        (lambda: NextTokenLogit(1, -2)(OUTPUT[:, -1]), InvalidInput, "last position alone"),
        (lambda: Continuation([1])(OUTPUT[:, -1]), InvalidInput, "at every position"),
        (lambda: PerToken([1])(OUTPUT), InvalidInput, "makes a matrix"),
    ],
)
def test_wrong_targets(make, error, match):
    with pytest.raises(error, match=match):
        make()


# ---- the circuit whose values are known by hand -----------------------------------------------------------------------------------------


@cache
def circuit():
    return Induction()


def weight(match, beta=5.0):
    """Attention on the position behind the first b, where the match of query and key is so large."""
    e = torch.tensor(beta * match, dtype=torch.float64).exp()
    return e / (e + 7)


def quadrature(function):
    """Of a function on [0, 1], by Gauss and Legendre."""
    places, weights = np.polynomial.legendre.leggauss(60)
    return sum(w / 2 * function((1 + p) / 2) for p, w in zip(places, weights, strict=True))


def by_method():
    """f = c w(b q), of three numbers that go from 0 to 1: the embeddings of the value, of the key, and of the query."""
    w0, w1, beta = weight(0.0), weight(1.0), 5.0
    slope = beta * w1 * (1 - w1)
    integrated = quadrature(lambda t: t * beta * t * weight(t * t) * (1 - weight(t * t)))
    return {
        "occlusion": (w1, w1 - w0, w1 - w0),
        "shapley_value": (w0 + (w1 - w0) / 3, (w1 - w0) / 3, (w1 - w0) / 3),
        "banzhaf": None,
        "gradient_x_input": (w1, slope, slope),
        "integrated_gradients": (quadrature(lambda t: weight(t * t)), integrated, integrated),
        "expected_gradients": (quadrature(lambda t: weight(t * t)), integrated, integrated),
        "deeplift_rescale": ((w0 + w1) / 2, (w1 - w0) / 4, (w1 - w0) / 4),
        "deep_shap": ((w0 + w1) / 2, (w1 - w0) / 4, (w1 - w0) / 4),
    }


@pytest.mark.parametrize("method", [name for name, known in by_method().items() if known is not None])
def test_values_of_an_induction_circuit_are_those_computed_by_hand(method):
    options = {"tol": 1e-9} if "gradients" in method else {}
    found = vs.attribute(circuit(), TEXT, method, tokenizer=TOKENS, target="c", baseline="_", options=options)
    expected = torch.zeros(8, dtype=torch.float64)
    expected[[VALUE, KEY, QUERY]] = torch.stack(by_method()[method])
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-6)
    assert found.players.names == tuple(TEXT.split()) and found.provenance["baseline"] == "token '_'"


def test_its_interactions_are_known_too():
    found = vs.interactions(circuit(), TEXT, "b|c", tokenizer=TOKENS, target="c", baseline="_")
    named = dict(zip(map(tuple, [row.nonzero().flatten().tolist() for row in found.coalitions]), found.values.tolist(), strict=True))
    w0, w1 = float(weight(0.0)), float(weight(1.0))
    assert found.players.names == ("b", "c", "b")
    assert named[(1,)] == pytest.approx(w0, abs=1e-9) and named[(0, 1, 2)] == pytest.approx(w1 - w0, abs=1e-9)
    assert sum(abs(value) for value in named.values()) == pytest.approx(w1, abs=1e-9)


# ---- texts of any length ---------------------------------------------------------------------------------------------------------------


@cache
def mood():
    return Mood(60)


@cache
def recall():
    return Recall(320)


@pytest.mark.parametrize(
    "method", ["shapley_value", "occlusion", "integrated_gradients", "gradient_x_input", "deeplift_rescale", "lrp_epsilon"]
)
def test_a_text_among_others_has_the_values_it_has_alone(method):
    model, tokenizer = mood(), piece_tokenizer()
    several = vs.attribute(model, CORPUS, method, tokenizer=tokenizer, target="good", players="word")
    assert len(several) == len(CORPUS) and several.players.n == max(one.players.n for one in several)
    ids = [tokenizer.encode(text).ids for text in CORPUS]
    longest = max(map(len, ids))
    rows = {
        "input_ids": torch.tensor([[*row, *[0] * (longest - len(row))] for row in ids]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids]),
    }
    who = vs.Players.text(CORPUS, tokenizer, "word")
    padded = vs.attribute(model, rows, method, target="good", players=who, baseline=0)
    for place, text in enumerate(CORPUS):
        alone = vs.attribute(model, text, method, tokenizer=tokenizer, target="good", players="word")
        assert alone.players.names == several[place].players.names == padded[place].players.names
        for other in (several[place], padded[place]):
            torch.testing.assert_close(other.values, alone.values, rtol=0, atol=1e-5)
            torch.testing.assert_close(other.total, alone.total, rtol=0, atol=1e-5)


def test_values_of_games_on_texts_are_those_of_the_formula():
    model, tokenizer = recall(), byte_tokenizer()
    ids = tokenizer.encode("the film was great").ids
    target = tokenizer.encode(" good").ids[0]

    def logp(kept):
        row = torch.tensor([[one if here else 0 for one, here in zip(ids, kept, strict=True)]])
        return model(row, torch.ones_like(row))[0, -1].log_softmax(0)[target]

    found = vs.attribute(model, "the film was great", "occlusion", tokenizer=tokenizer, target=LogProbability(" good"))
    expected = [logp([True] * 4) - logp([place != i for place in range(4)]) for i in range(4)]
    torch.testing.assert_close(found.values, torch.stack(expected).detach())
    assert found.provenance["target"] == "log-probability of ' good'" and found.provenance["baseline"] == "pad token '<pad>'"


def test_a_network_takes_texts_of_any_length_and_one_from_a_file_too(tmp_path):
    model, tokenizer = recall(), byte_tokenizer()
    ids = torch.tensor([tokenizer.encode("the film was great").ids])
    network = vs.trace(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    loaded = vs.Network.load(network.save(tmp_path / "network.safetensors"))
    for text in ("the film was", "the film was great", "the film was great and the film was"):
        asked = {"tokenizer": tokenizer, "target": " good"}
        wanted = vs.attribute(model, text, "occlusion", **asked)
        shorter = vs.attribute(model, text, "occlusion", baseline="delete", **asked)
        for other in (network, loaded):
            torch.testing.assert_close(vs.attribute(other, text, "occlusion", **asked).values, wanted.values)
        torch.testing.assert_close(vs.attribute(network, text, "occlusion", baseline="delete", **asked).values, shorter.values)
        with pytest.raises(InvalidInput, match=r"\[1, 1\].*its graph holds for no other"):  # with all tokens left out, one stands for them
            vs.attribute(loaded, text, "occlusion", baseline="delete", **asked)


def test_deleted_tokens_make_the_text_shorter():
    model, tokenizer = recall(), byte_tokenizer()
    ids, target = tokenizer.encode("the film was great").ids, tokenizer.encode(" good").ids[0]

    def logit(kept):
        row = torch.tensor([[one for one, here in zip(ids, kept, strict=True) if here] or [1]])  # <eos> where nothing is left
        return float(model(row, torch.ones_like(row))[0, -1, target])

    game = vs.Game.on(model, "the film was great", tokenizer=tokenizer, target=" good", baseline="delete")
    masks = torch.tensor([[bool(n >> i & 1) for i in range(4)] for n in range(16)])
    torch.testing.assert_close(game(masks), torch.tensor([logit(row) for row in masks.tolist()], dtype=torch.float64))
    found = vs.attribute(model, "the film was great", "shapley_value", tokenizer=tokenizer, target=" good", baseline="delete")
    assert float(found.gap.abs()) < 1e-9 and found.provenance["baseline"] == "deleted ('<eos>' where nothing is left)"
    with pytest.raises(InvalidInput, match="deletion leaves absent tokens out"):
        vs.attribute(model, "the film", "integrated_gradients", tokenizer=tokenizer, target=" good", baseline="delete")
    with pytest.raises(InvalidInput, match="count it from the end"):
        vs.attribute(model, "the film", "occlusion", tokenizer=tokenizer, target=(1, 5), baseline="delete")


def test_a_matrix_has_a_row_for_each_generated_token():
    model, tokenizer = recall(), byte_tokenizer()
    ids = tokenizer.encode("the film was").ids
    written = list(ids)
    for _ in range(3):
        row = torch.tensor([written])
        written.append(int(model(row, torch.ones_like(row))[0, -1].argmax()))

    def each(front):
        row = torch.tensor([[*front, *written[3:]]])
        return model(row, torch.ones_like(row))[0].log_softmax(-1)[[2, 3, 4], written[3:]].detach()

    without = torch.stack([each([0 if place == gone else one for place, one in enumerate(ids)]) for gone in range(3)], 1)
    asked = {"tokenizer": tokenizer, "target": PerToken(3)}
    found = vs.attribute(model, "the film was", "occlusion", **asked)
    torch.testing.assert_close(found.values, each(ids)[:, None] - without)
    assert found.provenance["generated"] == [tokenizer.decode([one]) for one in written[3:]]
    for method in ("shapley_value", "integrated_gradients"):
        found = vs.attribute(model, "the film was", method, **asked)
        assert found.values.shape == (3, 3) and float(found.relative_gap.max()) < 1e-6
        torch.testing.assert_close(found.total, each(ids))
        torch.testing.assert_close(found.base, each([0] * 3))


@pytest.mark.slow
def test_a_continuation_is_the_sum_of_its_tokens():
    model, tokenizer = recall(), byte_tokenizer()
    asked = {"tokenizer": tokenizer, "method": "shapley_value"}
    whole = vs.attribute(model, "the film was", target=Continuation(" not good"), **asked)
    each = vs.attribute(model, "the film was", target=PerToken(" not good"), **asked)
    torch.testing.assert_close(whole.values, each.values.sum(0))
    assert whole.players.n == 3


def test_what_stands_in_may_be_named_in_words():
    model, tokenizer = recall(), byte_tokenizer()
    ids, was, bad = tokenizer.encode("the film was").ids, tokenizer.encode(" was").ids[0], tokenizer.encode(" bad").ids[0]

    def base(baseline, method="occlusion"):
        return float(vs.attribute(model, "the film was", method, tokenizer=tokenizer, target=" good", baseline=baseline).base)

    def logit(row):
        return float(model(torch.tensor([row]), torch.ones(1, len(row), dtype=torch.long))[0, -1, tokenizer.encode(" good").ids[0]])

    assert base(" was") == pytest.approx(logit([was] * 3)) and base(None) == pytest.approx(logit([0] * 3))
    other = tokenizer.encode("a movie was").ids
    assert len(other) == len(ids) and base("a movie was") == pytest.approx(logit(other))
    texts = [other, [bad, 0, 0]]
    assert base(["a movie was", " bad"]) == pytest.approx(sum(map(logit, texts)) / 2)
    mean = model.wte.weight.mean(0).expand(1, 3, 8)
    found = vs.attribute(model, "the film was", "integrated_gradients", tokenizer=tokenizer, target=" good", baseline="mean_embedding")
    assert found.provenance["baseline"] == "mean of the embedding"
    head = vs.trace(model, torch.tensor([ids]), torch.ones(1, 3, dtype=torch.long)).split("wte")
    rest = head.front(torch.tensor([ids]), torch.ones(1, 3, dtype=torch.long))[1:]
    torch.testing.assert_close(found.base, head.head(mean, *rest)[0, -1, tokenizer.encode(" good").ids[0]].detach())


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({"baseline": "mask"}, "no token for 'mask'"),
        ({"baseline": "some other text that is longer"}, "is a text of"),
        ({"baseline": " film great"}, "is a text of 2 tokens, and the one that is explained has 3"),
        ({"target": " great film"}, "and one is meant here"),
        ({"players": 3}, "a Players was expected"),
        ({"target": PerToken(40)}, "takes at most 32"),
        ({"players": vs.Players.text("a movie was", byte_tokenizer())}, "are of another text"),
    ],
)
def test_wrong_words(asked, match):
    with pytest.raises((InvalidInput, WrongType), match=match):
        vs.attribute(recall(), "the film was", "occlusion", **{"tokenizer": byte_tokenizer(), "target": " good", **asked})


def test_wrong_texts():
    model, tokenizer = recall(), byte_tokenizer()
    for text, match in (("", "is empty"), ("<pad><eos>", "only special tokens"), ("the film was great " * 12, "takes at most 32")):
        with pytest.raises(InvalidInput, match=match):
            vs.attribute(model, text, "occlusion", tokenizer=tokenizer)
    with pytest.raises(InvalidInput, match="another vocabulary"):
        vs.attribute(Mood(30), "the film", "occlusion", tokenizer=piece_tokenizer())
    with pytest.raises(InvalidInput, match="no tokenizer that makes ids"):
        vs.attribute(model, "the film", "occlusion")
    with pytest.raises(InvalidInput, match="divides a text, and none came"):
        vs.attribute(model, {"input_ids": torch.ones(1, 3).long(), "attention_mask": torch.ones(1, 3).long()}, "occlusion", players="word")
    with pytest.raises(InvalidInput, match="is about one text; 2 came"):
        vs.interactions(model, ["the film", "the movie"], tokenizer=tokenizer, target=" good")

    class Fixed(Induction):
        def forward(self, ids):
            return (
                super().forward(ids)
                + 0 * self.wte(ids)[:, :1].sum()
                + 0 * torch.zeros(8)[: ids.shape[1]].reshape(1, -1).expand(1, ids.shape[1]).sum()
            )

    with pytest.raises(InvalidInput, match="works on the first 8 of them: it is longer than the model allows"):
        vs.attribute(Fixed(), "a b c d e f a b c d", "occlusion", tokenizer=TOKENS, baseline="_", target="c")


def test_padding_without_a_mask_is_refused():
    texts, tokenizer = CORPUS[:2], piece_tokenizer()
    who = vs.Players.text(texts, tokenizer)
    ids = torch.zeros(2, len(who.of(1).index[0]), dtype=torch.long)
    with pytest.raises(InvalidInput, match="the model was given no mask"):
        vs.attribute(mood(), ids, "occlusion", players=who, baseline=0, target=1)
    with pytest.raises(InvalidInput, match="takes no attention_mask"):
        vs.information_flow(Pipeline(Induction(), TOKENS), ["a b c", "a b"])


class Pipeline:
    """What is looked for in a pipeline of transformers."""

    def __init__(self, model, tokenizer):
        self.model, self.tokenizer = model, tokenizer


def test_every_verb_takes_a_pipeline():
    pipeline = Pipeline(mood(), piece_tokenizer())
    text = "the film was great"
    found = vs.attribute(pipeline, text, "shapley_value", target="good")
    assert found.players.names == ("the", "film", "was", "great") and found.provenance["target"] == "class good"
    assert vs.interactions(pipeline, text, target="good").reduce("shapley").values.tolist() == pytest.approx(found.values.tolist())
    assert vs.Game.on(pipeline, text, target="good").players.n == 4
    assert set(vs.audit(pipeline, text, target="good", methods=["occlusion", "integrated_gradients"])) == {
        "occlusion",
        "integrated_gradients",
    }
    assert [layer.name for layer in vs.information_flow(pipeline, CORPUS * 8).layers][-1] == "output"


def test_templates_go_through_verbs():
    text = Template("the {what} was {how}", {"what": "film", "how": "great"})
    found = vs.attribute(mood(), text, "shapley_value", tokenizer=piece_tokenizer(), target="good")
    assert found.players.names == ("what", "how") and float(found.gap.abs()) < 1e-9


def test_the_users_model_and_tokenizer_are_left_alone():
    model, tokenizer = recall(), byte_tokenizer()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}, tokenizer.to_str(), model.training
    vs.attribute(model, "the film was", "shapley_value", tokenizer=tokenizer, target=PerToken(3))
    assert all(torch.equal(tensor, before[0][name]) for name, tensor in model.state_dict().items())
    assert tokenizer.to_str() == before[1] and model.training == before[2]


def test_a_continuation_of_nothing_stands_behind_the_token_for_nothing():
    model, tokenizer = recall(), byte_tokenizer()
    ids, behind = tokenizer.encode("the film").ids, tokenizer.encode(" was great").ids
    game = vs.Game.on(model, "the film", tokenizer=tokenizer, target=Continuation(" was great"), baseline="delete")

    def logp(front):
        row = torch.tensor([[*front, *behind]])
        return float(model(row, torch.ones_like(row))[0, -3:-1].log_softmax(-1)[[0, 1], behind].sum())

    expected = torch.tensor([logp([1]), logp(ids[1:]), logp(ids)], dtype=torch.float64)
    torch.testing.assert_close(game(torch.tensor([[False, False], [False, True], [True, True]])), expected)


def test_special_tokens_stay_as_they_are_where_gradients_are_taken():
    ids = piece_tokenizer().encode("the film").ids
    found = vs.attribute(mood(), "the film", "integrated_gradients", tokenizer=piece_tokenizer(), target="good")
    base = mood()(torch.tensor([[ids[0], 0, 0, ids[3]]]))[0, 1].detach()
    torch.testing.assert_close(found.base, base)
    torch.testing.assert_close(found.values.sum(), found.total - base, rtol=0, atol=1e-6)
