"""Rows that are looked at closely: interactions and an audit on the page, in files and in the summary; kept, or refused."""

import json
import re
from pathlib import Path

import pytest
import torch

import vesalius as vs
from vesalius.core.players import Players
from vesalius.workflow import row_audit

TABLE = ("models.py:net", "x.npz", "--features", "a,b,c,d")


def test_a_row_is_audited_and_its_interactions_are_shown(explain):
    explain(*TABLE, "--rows", "0:3", "--audit", "1", "--methods", "occlusion")
    page = (Path("out") / "report.html").read_text()
    assert "Interactions of features in row 1" in page and "Which map to believe here (audit): row 1" in page
    together = vs.Allocation.load(Path("out") / "interactions_1.safetensors")
    audit = vs.Audit.load(Path("out") / "audit_1.safetensors")
    assert together.order == 4 and together.players.names == audit.players.names == ("a", "b", "c", "d")
    assert audit["shapley_value"].holds and not audit["occlusion"].holds
    facts = json.loads((Path("out") / "summary.json").read_text())["audits"]
    assert [one["row"] for one in facts] == [1] and {line["method"] for line in facts[0]["methods"]} == set(audit)


def test_the_summary_is_json_that_anyone_reads(explain):
    explain(*TABLE, "--rows", "0", "--audit", "0", "--methods", "occlusion")
    text = (Path("out") / "summary.json").read_text()
    assert not re.search(r"\b(NaN|Infinity)\b", text)
    assert row_audit._nan_to_null(float("nan")) is None and row_audit._nan_to_null((0.5, float("inf"))) == [0.5, None]


@pytest.mark.slow
def test_what_is_there_is_kept_until_something_changes(explain, monkeypatch):
    words = (*TABLE, "--rows", "0", "--audit", "0", "--methods", "occlusion")
    explain(*words)
    with monkeypatch.context() as patch:
        patch.setattr(row_audit, "_audit", None)
        before = Path("out/audit_0.safetensors").stat().st_mtime_ns
        assert explain(*words).code == 0, "nothing was audited again"
        assert Path("out/audit_0.safetensors").stat().st_mtime_ns == before, "nor written again"
    explain(*words, "--baseline", "mean")
    assert vs.Audit.load(Path("out") / "audit_0.safetensors").provenance["baseline"] == "mean of 10 rows"


@pytest.mark.parametrize("row", ["7", "x", "-1"])
def test_rows_that_are_not_explained_are_refused(row, explain):
    done = explain(*TABLE, "--rows", "0:2", f"--audit={row}")
    assert done.code == 2 and "none of the rows that are explained (0, 1)" in done.err


def test_an_inner_value_is_not_masked(explain):
    done = explain(*TABLE, "--rows", "0", "--audit", "0", "--at", "a", "--methods", "occlusion")
    assert done.code == 2 and "leave --audit or --at" in done.err
    assert not Path("out").exists(), "refused before any method has run"


def test_many_parts_of_a_picture_are_audited_as_larger_ones():
    picture = torch.zeros(3, 10, 7)
    assert row_audit._coarsen(Players.features(picture), picture).shape == (3, 3)
    few = Players.patches(picture, 5)
    assert row_audit._coarsen(few, picture) is few
    row = torch.zeros(30)
    many = Players.features(row)
    assert row_audit._coarsen(many, row) is many
