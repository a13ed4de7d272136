"""Write the exact version of every package into the root's pyproject.toml: `make pins`, `make upgrade`.

uv.lock would hold them too, with the address of the index it was made from. It is not kept, so that the
project installs from whatever index a team uses, at the same versions.
"""

import argparse
import re
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT = ROOT / "pyproject.toml"
# Hatchling asks for it when it builds an editable install, so no pyproject.toml names it.
EDITABLE_BUILDS_NEED = "editables"


def main() -> None:
    """Resolve, write both lists, and leave the file as it was if that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions, not the pinned ones")
    upgrade = parser.parse_args().upgrade
    before = PROJECT.read_text(encoding="utf-8")
    try:
        if upgrade:
            write("constraint-dependencies", [])
            write("build-constraint-dependencies", [])
        uv("lock", *(["--upgrade"] if upgrade else []))
        write("constraint-dependencies", runtime_pins())
        write("build-constraint-dependencies", build_pins())
        uv("lock")
    except BaseException:
        PROJECT.write_text(before, encoding="utf-8")
        raise


def runtime_pins() -> list[str]:
    """Return a requirement for each version in the lock, with a marker where platforms differ in it."""
    exported = uv(
        "export",
        "--frozen",
        "--format=requirements-txt",
        "--all-packages",
        "--all-groups",
        "--all-extras",
        "--no-emit-workspace",
        "--no-hashes",
        "--no-annotate",
        "--no-header",
    )
    return without_needless_markers(exported.splitlines())


def build_pins() -> list[str]:
    """Return a requirement for each package that builds one of the workspace's distributions."""
    settings = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["tool"]["uv"]
    members = [
        path for pattern in settings["workspace"]["members"] for path in ROOT.glob(f"{pattern}/pyproject.toml")
    ]
    builders = {
        name
        for member in members
        for name in tomllib.loads(member.read_text(encoding="utf-8"))["build-system"]["requires"]
    }
    wanted = [*sorted(builders), EDITABLE_BUILDS_NEED, *settings["build-constraint-dependencies"]]
    resolved = uv(
        "pip",
        "compile",
        "-",
        "--universal",
        "--python-version=3.11",
        "--no-annotate",
        "--no-header",
        stdin="\n".join(wanted),
    )
    return without_needless_markers(resolved.splitlines())


def without_needless_markers(requirements: Sequence[str]) -> list[str]:
    """Drop the marker of a package with one version everywhere: a constraint installs nothing itself."""
    names = [requirement.split("==")[0] for requirement in requirements]
    return sorted(
        requirement if names.count(name) > 1 else requirement.split(";")[0].strip()
        for name, requirement in zip(names, requirements, strict=True)
    )


def write(key: str, pins: Sequence[str]) -> None:
    """Replace the list `key` of `[tool.uv]`, and leave every other character of the file alone."""
    lines = "".join(f'    "{pin}",\n' for pin in pins)
    text, count = re.subn(
        rf"^{key} = \[\n.*?^\]",
        lambda _: f"{key} = [\n{lines}]",
        PROJECT.read_text(encoding="utf-8"),
        flags=re.M | re.S,
    )
    if count != 1:
        raise SystemExit(f"pyproject.toml has no list `{key}` in [tool.uv], one package a line: add an empty one.")
    PROJECT.write_text(text, encoding="utf-8")


def uv(*arguments: str, stdin: str | None = None) -> str:
    """Run uv in the workspace and return what it prints; its complaints go to the terminal."""
    command = ["uv", "--quiet", *arguments]
    done = subprocess.run(command, cwd=ROOT, input=stdin, text=True, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout


if __name__ == "__main__":
    main()
