"""The README is the reference of the settings: it has each of them, with its default, and no others."""

import re
from pathlib import Path

import pytest

from pusherable.conf import Conf, Setting

README = (Path(__file__).parent.parent / "README.rst").read_text()
SETTINGS = {name: setting for name, setting in vars(Conf).items() if isinstance(setting, Setting)}
SECTIONS = dict(
    re.findall(r"^(PUSHER\w+)\n~+\n\n(.*?)(?=^\w[^\n]*\n[~-]+\n)", README, re.MULTILINE | re.DOTALL)
)


def test_readme_has_a_heading_for_each_setting_and_for_nothing_else():
    assert list(SECTIONS) == list(SETTINGS)


@pytest.mark.parametrize("name", SETTINGS)
def test_each_setting_states_its_default_and_an_example(name):
    text = " ".join(SECTIONS[name].split())
    assert f"default ``{SETTINGS[name].default!r}``".replace("'", '"') in text
    assert f"{name} = " in text or "for example ``" in text
