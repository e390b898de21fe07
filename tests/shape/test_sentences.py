"""Every option and every error has its sentence; what is generated or listed is fresh."""

from __future__ import annotations

import io
import re
import tomllib
from pathlib import Path

import pytest
from oslo_config import cfg, generator

from ironic_lite import errors, options
from ironic_lite.config import SECTIONS, Option

ROOT = Path(__file__).parents[2]
options.declare()
OPTIONS = [option for section in SECTIONS for option in section.options.values()]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda one: f"{one.section.group}.{one.name}")
def test_every_option_has_its_sentence(option: Option[object]):
    assert re.fullmatch(r"[A-Z].{15,}[.]", option.help, re.DOTALL), option.help


def test_no_option_is_declared_twice():
    names = [(one.section.group, one.name) for one in OPTIONS]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("kind", [*errors.BY_NAME.values()], ids=lambda kind: kind.__name__)
def test_every_error_has_its_sentence_and_a_status(kind: type[errors.Error]):
    assert kind.__doc__
    assert kind.message.endswith(".") or kind.message == "{reason}"
    assert 400 <= kind.status < 600


def sample() -> str:
    """What `oslo-config-generator --namespace ironic_lite --wrap-width 100` writes."""
    settings = cfg.ConfigOpts()
    generator.register_cli_opts(settings)
    settings(["--namespace", "ironic_lite", "--wrap-width", "100"])
    out = io.StringIO()
    generator.generate(settings, output_file=out)
    return out.getvalue()


def test_the_sample_file_is_fresh():
    assert (ROOT / "etc/ironic-lite/ironic.conf.sample").read_text() == sample()


def test_every_dependency_says_why_it_is_there():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[\[<>=~!]", one)[0] for one in project["dependencies"]}
    wanted |= {re.split(r"[\[<>=~!]", one)[0] for extra in ("postgresql", "mysql")
               for one in project["optional-dependencies"][extra]}  # fmt: skip
    told = set(re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs/dependencies.md").read_text(), re.MULTILINE))
    assert told == wanted
