"""What the explorer says is what the library says: the calls that it shows give its numbers, on changed samples too."""

import json
import threading
import time

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.explorer.conftest import CLASSES, NAMES, ask, request, table_model
from vesalius.core.errors import InvalidInput
from vesalius.explorer import ExplorerOptions, explore
from vesalius.explorer.computation import ComputationStopped
from vesalius.explorer.question import ExplorerQuestion
from vesalius.explorer.subject import MODEL_NAMES


def results(explorer, models, names, **question):
    """Each result of an answer beside what its code gives in a session of its own."""
    for place, model in enumerate(explorer.ask(ExplorerQuestion(**question)).models):
        for part in model.parts:
            assert part.refusal == "", part.refusal
            session = {"vs": vs, MODEL_NAMES[place]: models[place], **names}
            exec(part.code, session)
            yield part.what, part.result, session["found"]


def assert_same(what, shown, found):
    if what == "audit":
        assert list(shown) == list(found) and len(shown) > 0
        shown, found = (torch.tensor([one[name].error for name in one], dtype=torch.float64) for one in (shown, found))
        torch.testing.assert_close(shown, found)
        return
    torch.testing.assert_close(shown.values, found.values)
    torch.testing.assert_close(shown.total, found.total)
    torch.testing.assert_close(shown.base, found.base)


TABLE_QUESTIONS = [
    {},
    {"row": 3, "edits": {0: 2.5, 3: -1.25}, "target": "2", "method": "shapley_value", "budget": 50, "effects": True, "audit": "method"},
    {"row": 2, "target": "b & c", "baseline": "mean", "method": "occlusion", "effects": True},
    {"row": 1, "baseline": "background", "method": "expected_gradients", "players": "features"},
    {"row": 0, "at": "1", "method": "gradient_x_input"},
    {"row": 6, "edits": {2: 1e-3}, "method": "lrp_epsilon"},
    pytest.param({"row": 6, "audit": "all"}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("question", TABLE_QUESTIONS, ids=str)
def test_rows_of_a_table(table, rows, trained_models, question):
    before = rows.clone()
    if "at" in question:
        question = {**question, "at": table._subject.choices()["places"][1]}
    models = trained_models["table"], trained_models["other"]
    seen = [what for what, shown, found in results(table, models, {"data": rows}, **question) if assert_same(what, shown, found) is None]
    assert seen.count("map") == 2 and seen.count("effects") == 2 * question.get("effects", False)
    assert torch.equal(rows, before), "the data are left alone"


PICTURE_QUESTIONS = [
    {"masks": ((2, 2, 6, 5), (0, 0, 1, 8)), "fill": 0.5, "method": "integrated_gradients"},
    {"row": 4, "players": "patches:4", "method": "shapley_value", "effects": True, "audit": "method"},
    {"row": 1, "edits": {9: 0.75}, "baseline": "blur", "method": "occlusion", "players": "patches:2"},
]


@pytest.mark.parametrize("question", PICTURE_QUESTIONS, ids=str)
def test_pictures(gallery, pictures, trained_models, question):
    for what, shown, found in results(gallery, (trained_models["picture"],), {"data": pictures}, **question):
        assert_same(what, shown, found)


def test_pictures_in_another_memory_order(pictures, trained_models):
    turned = pictures.transpose(2, 3)
    explorer = explore(trained_models["picture"], turned)
    try:
        for what, shown, found in results(
            explorer, (trained_models["picture"],), {"data": turned}, row=1, edits={9: 0.75}, method="occlusion"
        ):
            assert_same(what, shown, found)
    finally:
        explorer.close()


TEXT_QUESTIONS = [
    {},
    {"row": 1, "players": "words", "method": "shapley_value", "effects": True, "audit": "method", "target": "good"},
    {"row": 2, "text": "the 'film' was \\ \"dull\"\n.", "baseline": "pad", "method": "occlusion"},
]


@pytest.mark.parametrize("question", TEXT_QUESTIONS, ids=str)
def test_texts(library, texts, tokenizer, trained_models, question):
    names = {"texts": texts, "tokenizer": tokenizer}
    for what, shown, found in results(library, (trained_models["text"],), names, **question):
        assert_same(what, shown, found)


def test_rows_of_ids():
    class Ids(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.out = nn.Embedding(10, 3), nn.Linear(3, 2)

        def forward(self, ids):
            return self.out(self.table(ids).mean(1))

    torch.manual_seed(0)
    model, data = Ids(), torch.randint(1, 10, (4, 5))
    with explore(model, data) as explorer:
        for what, shown, found in results(explorer, (model,), {"data": data}, row=1, edits={2: 7.0}, method="occlusion"):
            assert_same(what, shown, found)
        with pytest.raises(InvalidInput, match="whole number"):
            explorer.ask(ExplorerQuestion(edits={0: 1.5}))
        (found,) = explorer.ask(ExplorerQuestion(edits={0: 99.0})).models
        assert "99" in found.refusal and "99" in found.parts[0].refusal, "an id that the table has no row for"


def test_scores_are_those_of_the_model_and_changes_those_of_the_sample(table, rows, trained_models):
    first, second = table.ask(ExplorerQuestion(row=2, edits={1: 4.0})).models
    changed = rows[2].clone()
    changed[1] = 4.0
    for found, model in ((first, trained_models["table"]), (second, trained_models["other"])):
        with torch.no_grad():
            now, before = model(changed[None])[0].double(), model(rows[2][None])[0].double()
        torch.testing.assert_close(found.scores.now, now)
        torch.testing.assert_close(found.scores.before, before)
        assert tuple(found.scores.names) == tuple(CLASSES)


def test_what_the_page_gets(table, gallery, library):
    found = ask(table, row=1)
    assert found["sample"]["name"].startswith("row 1, label") and len(found["sample"]["values"]) == 4
    assert [len(model["parts"]) for model in found["models"]] == [1, 1]
    assert "vs.attribute(beside, x, 'integrated_gradients'" in found["models"][1]["parts"][0]["code"]
    assert repr(NAMES) in found["models"][0]["parts"][0]["code"]
    assert ask(gallery, masks=[[0, 0, 8, 8]])["sample"]["picture"].count("#000000") == 1
    assert ask(library, row=0, text="great film")["sample"]["text"] == "great film"


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ({"masks": [[0, 0, 9, 1]]}, "beyond the picture of 8 x 8"),
        ({"edits": {"64": 0}}, "64"),
        ({"row": 5}, "row"),
    ],
)
def test_changes_beyond_the_sample_are_refused(gallery, question, words):
    status, _, text = request(gallery, body=json.dumps(question).encode())
    assert status == 400 and words in json.loads(text)["error"]


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ({"method": "integrated"}, "did you mean 'integrated_gradients'"),
        ({"target": "9"}, "9"),
        ({"target": "d"}, "target"),
        ({"baseline": "zeros"}, "baseline"),
        ({"players": "patches:x"}, "kind of players"),
        ({"at": "nowhere"}, "nowhere"),
    ],
)
def test_what_a_verb_refuses_is_said_in_its_place(table, question, words):
    for model in ask(table, **question)["models"]:
        assert words in model["parts"][0]["refusal"] and model["parts"][0]["html"] == "" and model["scores"]


def test_effects_and_audits_of_a_layer_are_refused_and_the_map_is_shown(table):
    place = table._subject.choices()["places"][1]
    for model in ask(table, at=place, effects=True, audit="all")["models"]:
        shown, effects, audit = model["parts"]
        assert shown["html"] and "choose the input" in effects["refusal"] and "choose the input" in audit["refusal"]


def slow_function(wait):
    line = nn.Linear(4, 2)

    def function(x):
        time.sleep(wait[0])
        return line(x)

    return function


def test_a_long_computation_is_cancelled_from_the_page_and_the_next_one_runs(rows):
    wait = [0.0]
    with explore(slow_function(wait), rows) as explorer:
        wait[0], told = 0.02, []
        asked = json.dumps({"method": "shapley_value", "players": "features", "effects": True, "audit": "all"}).encode()
        thread = threading.Thread(target=lambda: told.append(request(explorer, body=asked)))
        thread.start()
        began = time.monotonic()
        while explorer._computation._work is None and time.monotonic() < began + 10:
            time.sleep(0.01)
        status, _, text = request(explorer, body=b"{}")
        assert status == 200 and "another computation" in json.loads(text)["busy"]
        assert '"cancelled": false' in request(explorer, "cancel", b'{"asker": "another page"}')[2]
        assert '"cancelled": true' in request(explorer, "cancel")[2]
        thread.join(20)
        assert told[0][0] == 200 and json.loads(told[0][2]) == {"stopped": "cancelled"}
        wait[0] = 0.0
        assert request(explorer, body=b'{"method": "occlusion"}')[0] == 200


def test_a_computation_has_an_end(rows):
    wait = [0.0]
    with explore(slow_function(wait), rows, options=ExplorerOptions(seconds=0.3)) as explorer:
        wait[0] = 0.05
        with pytest.raises(ComputationStopped, match="limit of this explorer"):
            explorer.ask(ExplorerQuestion(method="shapley_value", effects=True))


def test_models_and_data_in_any_form(rows):
    import pandas as pd

    frame = pd.DataFrame(rows.numpy(), columns=["a", "b", "c", "d"]).assign(kind=[0, 1, 0, 1, 0, 1, 0])
    with explore(table_model(), frame, options=ExplorerOptions(labels="kind")) as explorer:
        found = explorer.ask(ExplorerQuestion(row=1))
        assert found.models[0].parts[0].result.players.names == ("a", "b", "c", "d") and "label 1" in found.sample.name
        assert "Explorer(" in repr(explorer)


def test_what_cannot_be_explored_is_refused_before_anything_listens(rows):
    with pytest.raises(InvalidInput):
        explore(table_model(), torch.randn(3, 5))
    with pytest.raises(InvalidInput):
        explore(table_model(), rows, beside=nn.Linear(5, 2))
    with pytest.raises(InvalidInput, match="2 titles"):
        explore(table_model(), rows, options=ExplorerOptions(titles=["a", "b"]))
    with explore(table_model(), rows) as first, pytest.raises(InvalidInput, match="cannot be listened on"):
        explore(table_model(), rows, options=ExplorerOptions(port=int(first.address.split(":")[2].split("/")[0])))


def test_what_is_offered_fits_the_samples(table, gallery, library):
    assert table._subject.choices()["players"] == ["auto", "features"] and library._subject.choices()["players"][2] == "words"
    assert gallery._subject.choices()["players"] == ["auto", "patches:2", "patches:4", "features"]
    page = request(gallery, "", method="GET")[2]
    assert '<option value="integrated_gradients" selected>' in page and page.count(" selected>") == 1
    wide = nn.Sequential(nn.Flatten(), nn.Linear(3 * 90 * 90, 2))
    with explore(wide, torch.rand(2, 3, 90, 90)) as explorer:
        choices = explorer._subject.choices()
        assert choices["method"] == "gradient_x_input" and choices["players"][-2] == "patches:32"
