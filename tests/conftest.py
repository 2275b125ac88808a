"""Shapes and types of every call are checked while tests run; property tests have no deadline, since machines are shared."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from jaxtyping import config, install_import_hook

from tests import typechecking

settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")
torch.set_num_threads(1)
if not config.jaxtyping_disable:
    install_import_hook("vesalius", f"{typechecking.__name__}.checked")


@pytest.fixture
def as_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the checks that only tests have, so that a wrong type meets the library's own error."""
    monkeypatch.setattr(config, "jaxtyping_disable", True)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Where real data and pretrained networks are; tests that need them fail without, rather than pass in silence."""
    place = os.environ.get("VESALIUS_DATA")
    if not place or not Path(place).is_dir():
        pytest.fail("set VESALIUS_DATA to the folder with data and pretrained networks")
    return Path(place)
