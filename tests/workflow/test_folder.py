"""The folder of a job: its own, and nothing outside of it."""

import pytest

from vesalius.core.errors import InvalidInput
from vesalius.workflow.folder import check_output_folder, output_folder


@pytest.mark.parametrize("name", ["occlusion.safetensors", "report.html", "digits/summary.json"])
def test_a_result_that_is_a_link_to_elsewhere_is_not_written_through(tmp_path, name):
    victim, out = tmp_path / "notes", tmp_path / "out"
    victim.write_text("mine")
    (out / name).parent.mkdir(parents=True)
    (out / name).symlink_to(victim)
    with pytest.raises(InvalidInput, match=r"is a link to .*notes, which would be written over; remove the link"), output_folder(out):
        pytest.fail("the job began")
    assert victim.read_text() == "mine"


def test_a_link_within_the_folder_is_kept(tmp_path):
    (tmp_path / "report.html").write_text("page")
    (tmp_path / "latest.html").symlink_to("report.html")
    with output_folder(tmp_path) as folder:
        assert (folder / "latest.html").is_symlink()


def test_a_folder_that_is_a_link_is_a_folder(tmp_path):
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "report.html").write_text("page")
    (tmp_path / "out").symlink_to(tmp_path / "away")
    with output_folder(tmp_path / "out") as folder:
        assert (folder / "report.html").read_text() == "page"


def test_asking_whether_a_folder_can_be_written_to_leaves_nothing(tmp_path):
    check_output_folder(tmp_path / "new" / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path, monkeypatch):
    def denied(dir):
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr("vesalius.workflow.folder.TemporaryFile", denied)
    with pytest.raises(InvalidInput, match=r"nothing can be written to .*Permission denied.*name another folder"):
        check_output_folder(tmp_path)
