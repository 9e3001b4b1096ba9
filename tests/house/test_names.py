"""Our top-level names are ours alone, no module shadows a library, and the wheel holds what the tree holds."""

from __future__ import annotations

import sys
from collections import Counter
from importlib.metadata import distribution, packages_distributions

import pytest
from house_tree import FLOORS, ROOT, packages, project, shown, sources

DISTRIBUTION = "gatepost"


@pytest.mark.parametrize("name", FLOORS)
def test_a_top_level_name_belongs_to_our_distribution_only(name: str) -> None:
    assert set(packages_distributions().get(name, [])) <= {DISTRIBUTION}
    assert name not in sys.stdlib_module_names


def test_the_library_list_is_not_empty() -> None:
    assert {"dkim", "dns", "spf"} <= set(packages_distributions()), "the test above would pass in any environment"


def test_no_module_is_named_like_a_library() -> None:
    libraries = {name for name in packages_distributions() if name.isidentifier()} - set(FLOORS)
    assert [shown(path) for path in sources() if path.stem in libraries] == []


def test_no_module_below_the_command_line_is_named_like_the_standard_library() -> None:
    # A command's module is named as the command; any other may be run as a script, with its folder first in sys.path.
    files = [path for path in sources() if not shown(path).startswith("gatepost/cli/")]
    assert [shown(path) for path in files if path.stem in sys.stdlib_module_names] == []


def test_the_wheel_holds_every_package_and_no_other() -> None:
    targets = project()["tool"]["hatch"]["build"]["targets"]
    assert sorted(targets["wheel"]["packages"]) == sorted(packages())
    assert set(packages()) <= set(targets["sdist"]["include"])
    assert set(packages()) <= set(project()["tool"]["mypy"]["packages"])


def test_every_package_says_that_it_is_typed() -> None:
    assert [name for name in packages() if not (ROOT / name / "py.typed").is_file()] == []


def test_the_installed_version_is_the_one_of_the_tree() -> None:
    assert distribution(DISTRIBUTION).version == project()["project"]["version"]


def test_no_two_test_files_share_a_name() -> None:
    # pytest imports them by their last part alone.
    tests = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert [name for name, times in Counter(tests).items() if times > 1] == []
    assert tests != []
