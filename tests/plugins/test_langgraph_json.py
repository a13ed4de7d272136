"""An existing langgraph.json, as a process finds it in its working directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perron.errors import ConfigurationError
from perron.plugins.langgraph_json import find_langgraph_json, read_langgraph_json

Site = Any  # the fixture's class lies in conftest.py


def write(directory: Path, content: object, **files: str) -> Path:
    for name, source in files.items():
        path = directory / name.replace("__", "/").replace("_py", ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    path = directory / "langgraph.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_graphs_are_found_in_the_working_directory_and_failures_are_state(tmp_path: Path, site: Site) -> None:
    project = tmp_path / "project"
    write(
        project,
        {
            "dependencies": [".", "./library", "langchain-openai"],
            "env": {"LANGGRAPH_JSON_TEST": "from the file"},
            "graphs": {
                "by_file": "./agent.py:graph",
                "by_package": {"path": "src/deep/graph.py:build", "description": "Lies in a package."},
                "by_module": "named:make",
                "gone": "./absent.py:graph",
                "raises": "./raising.py:graph",
                "misnamed": "./agent.py:grahp",
                "script": "./agent.ts:graph",
                "unnamed": "./agent.py",
                "pathless": {"description": "nothing"},
            },
        },
        agent_py="import os\nfrom sibling import thing\nos.environ['LANGGRAPH_JSON_TEST']\ndef graph(): ...\n",
        sibling_py="thing = 1\n",
        raising_py="import os\nos.environ['NOT_SET_ANYWHERE']\n",
        library__named_py="def make(): ...\n",
        src__deep____init___py="",
        src__deep__graph_py="from .near import build\n",
        src__deep__near_py="def build(): ...\n",
    )
    (project / "src/deep/__init__.py").write_text("")

    found = site.load(cwd=project)["agents"]

    assert {name for name, agent in found.items() if agent["state"] == "loaded"} == {
        "by_file",
        "by_package",
        "by_module",
    }
    assert found["by_file"]["entry_point"] == "./agent.py:graph"
    assert found["by_file"]["distribution"] is None
    errors = {name: agent["error"] for name, agent in found.items()}
    assert errors["gone"] == "./absent.py:graph of langgraph.json cannot be loaded: there is no such file."
    assert "KeyError: 'NOT_SET_ANYWHERE' (raising.py, line 2)" in errors["raises"]
    assert "it has no attribute 'grahp'. Did you mean 'graph'" in errors["misnamed"]
    assert "only graphs in Python can run here" in errors["script"]
    assert "names no attribute" in errors["unnamed"]
    assert "it has no path" in errors["pathless"]


def test_its_variables_do_not_replace_those_that_are_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGGRAPH_JSON_KEPT", "mine")
    monkeypatch.setenv("LANGGRAPH_JSON_NEW", "")
    monkeypatch.delenv("LANGGRAPH_JSON_NEW")
    (tmp_path / ".env").write_text("LANGGRAPH_JSON_KEPT=theirs\nLANGGRAPH_JSON_NEW=new\n")
    source = (
        "import os\nseen = os.environ['LANGGRAPH_JSON_KEPT'], os.environ['LANGGRAPH_JSON_NEW']\ndef graph(): ...\n"
    )
    path = write(tmp_path, {"env": ".env", "graphs": {"agent": "./agent_of_env.py:graph"}}, agent_of_env_py=source)

    [agent] = read_langgraph_json(path, timeout_s=10)

    assert agent.agent is not None
    assert agent.agent.build.__globals__["seen"] == ("mine", "new")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "holds no JSON object"),
        ({"graphs": {}}, "names no graphs"),
        ({"graphs": {"a": "./a.py:g"}, "env": ".absent"}, "names the file .absent"),
        ({"graphs": {"a": "./a.py:g"}, "env": 5}, "neither a file's name nor an object"),
        ({"graphs": {"a": "./a.py:g"}, "dependencies": ["./absent"]}, "names the directory ./absent"),
    ],
)
def test_a_file_of_another_shape_is_refused_with_a_sentence(tmp_path: Path, content: object, reason: str) -> None:
    path = write(tmp_path, content)

    with pytest.raises(ConfigurationError, match=reason):
        read_langgraph_json(path, timeout_s=10)


def test_a_named_file_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert find_langgraph_json(None) is None
    with pytest.raises(ConfigurationError, match=r"other\.json, which does not exist"):
        find_langgraph_json(Path("other.json"))
