"""The workspace itself: versions and pins, typed distributions, the name `platform`, what no file may say."""

import platform
import re
import subprocess
import sys
import sysconfig
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
STDLIB = Path(sysconfig.get_path("stdlib"))


@cache
def project(directory: Path) -> dict[str, Any]:
    return tomllib.loads((directory / "pyproject.toml").read_text(encoding="utf-8"))


WORKSPACE = project(ROOT)
UV = WORKSPACE["tool"]["uv"]
MEMBERS = sorted(
    path.parent for pattern in UV["workspace"]["members"] for path in ROOT.glob(f"{pattern}/pyproject.toml")
)
each_member = pytest.mark.parametrize("member", MEMBERS, ids=lambda path: path.relative_to(ROOT).as_posix())


def names(requirements: list[str]) -> set[str]:
    return {Requirement(requirement).name for requirement in requirements}


def test_every_package_that_is_resolved_is_pinned() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    resolved = {
        f"{package['name']}=={package['version']}"
        for package in lock["package"]
        if "registry" in package["source"]
    }

    pinned = {pin.split(";")[0].strip() for pin in UV["constraint-dependencies"]}

    stale = sorted(resolved ^ pinned)
    assert not stale, f"The pins in pyproject.toml are stale ({', '.join(stale)}): run `make pins`."


def test_every_package_that_builds_is_pinned() -> None:
    builders = {name for member in MEMBERS for name in names(project(member)["build-system"]["requires"])}

    missing = builders - names(UV["build-constraint-dependencies"])

    assert not missing, f"pyproject.toml does not pin {', '.join(sorted(missing))}: run `make pins`."


def test_all_distributions_have_one_version() -> None:
    versions = {project(directory)["project"]["version"] for directory in [ROOT, *MEMBERS]}

    assert len(versions) == 1, f"pyproject.toml files disagree: {versions}. Give all of them one version."


@each_member
def test_a_member_is_wired_into_the_workspace(member: Path) -> None:
    name = project(member)["project"]["name"]

    assert name in names(WORKSPACE["dependency-groups"]["dev"]), f"Add {name} to the root's dev group."
    assert UV["sources"].get(name) == {"workspace": True}, f"Add {name} to the root's [tool.uv.sources]."
    source = (member / "src").relative_to(ROOT).as_posix()
    assert source in WORKSPACE["tool"]["mypy"]["mypy_path"], f"Add {source} to the root's mypy_path."
    packages = {path.parent.name for path in member.glob("src/*/__init__.py")}
    unchecked = packages - set(WORKSPACE["tool"]["importlinter"]["root_packages"])
    assert not unchecked, f"Add {unchecked} to the root's [tool.importlinter] root_packages."


@each_member
def test_a_member_can_be_published(member: Path) -> None:
    metadata = project(member)["project"]

    assert metadata["license"] == "Apache-2.0"
    assert metadata["requires-python"] == WORKSPACE["project"]["requires-python"]


@each_member
def test_a_member_is_typed(member: Path) -> None:
    packages = [path.parent for path in member.glob("src/*/__init__.py")]

    assert packages
    for package in packages:
        assert (package / "py.typed").exists(), f"Add an empty {package.relative_to(ROOT)}/py.typed."


def test_import_platform_is_the_standard_librarys_in_this_session() -> None:
    assert Path(platform.__file__).parent == STDLIB


def test_import_platform_is_the_standard_librarys_from_the_root() -> None:
    code = "import platform; print(platform.__file__)"

    imported = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert Path(imported.stdout.strip()).parent == STDLIB


def test_nothing_in_platform_can_stand_in_for_the_standard_librarys_module() -> None:
    directory = ROOT / "platform"
    patterns = ("__init__.py", "conftest.py", "test_*.py", "*_test.py")

    found = {path for pattern in patterns for path in directory.rglob(pattern)}

    outside = sorted(str(path) for path in found if not path.is_relative_to(directory / "src" / "perron"))
    assert not outside, f"Under pytest these would replace the stdlib's `platform`: move them to tests/: {outside}"


def texts() -> list[tuple[str, str]]:
    """Return path and text of each file that git keeps or would keep."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        # A container that mounts the checkout may run as someone else than its owner.
        ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    files = [ROOT / line for line in listed.stdout.splitlines()]
    return [
        (path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8", errors="replace"))
        for path in files
        if path.is_file()
    ]


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("a path of one machine", r"(?<![\w.])/(?:work|root|home|Users)/\w"),
        ("the host of a package registry", r"pypi\.org|pythonhosted\.org|ghcr\.io|docker\.io|quay\.io|npmjs\.org"),
    ],
)
def test_no_file_names(what: str, pattern: str) -> None:
    found = [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}"
        for path, text in texts()
        for match in re.finditer(pattern, text)
    ]

    assert not found, f"These name {what}, which is another one elsewhere: {found}"


def test_ci_ends_with_the_tests() -> None:
    script = ROOT / ".ci" / "run"

    assert script.stat().st_mode & 0o111, "chmod +x .ci/run"
    assert script.read_text(encoding="utf-8").splitlines()[-1].endswith(" pytest")
