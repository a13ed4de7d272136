import fcntl
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.cli.clerk import LEDGER
from tests.cli.conftest import CommandLine, Done, Script


@pytest.fixture
def perron(cli: CommandLine) -> CommandLine:
    """The command line with the clerk as its only agent."""
    (cli.directory / "langgraph.json").write_text(
        json.dumps({"graphs": {"clerk": f"{Path(__file__).parent}/clerk.py:clerk"}})
    )
    return cli


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[..., None]:
    def write(*rows: str, heading: str = "text") -> None:
        (tmp_path / "rows.csv").write_text("\n".join([heading, *rows]) + "\n", encoding="utf-8")

    return write


def results(directory: Path, name: str = "out.jsonl") -> list[dict[str, Any]]:
    lines = (directory / name).read_text(encoding="utf-8").splitlines()
    return sorted((json.loads(line) for line in lines), key=lambda line: line["row"])


def runs(database_url: str) -> list[tuple[str, str]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute("SELECT run_id::text, status FROM perron.runs ORDER BY 1").fetchall()


def batch(perron: CommandLine, *options: str) -> Done:
    return perron("batch", "clerk", "rows.csv", "--out", "out.jsonl", *options)


def test_each_row_is_a_run_on_a_thread_of_its_own(
    perron: CommandLine, write_csv: Callable[..., None], database_url: str
) -> None:
    write_csv('"one, two",2,not used', '"three\nfour",,', heading="text,copies,other")

    done = batch(perron, "--json")

    assert (done.code, done.err.count("\n")) == (0, 0), done.err
    assert {**done.json, "seconds": 0} == {
        "rows": 2, "done": 2, "waiting": 0, "failed": 0, "held": 0, "seconds": 0, "out": "out.jsonl"
    }  # fmt: skip
    first, second = results(perron.directory)
    assert set(first) == {"row", "run_id", "thread_id", "status", "output", "waiting", "error"}
    assert (first["row"], first["output"]) == (1, {"seen": {"text": "one, two", "copies": 2}})
    assert (second["row"], second["output"]) == (2, {"seen": {"text": "three\nfour"}})
    assert first["thread_id"] != second["thread_id"]
    assert runs(database_url) == sorted((line["run_id"], "success") for line in (first, second))


def test_a_batch_that_is_killed_goes_on_and_does_no_row_twice(
    perron: CommandLine, script: Script, write_csv: Callable[..., None], database_url: str
) -> None:
    rows = [f"kill {n}" if n in (4, 11) else f"row {n}" for n in range(1, 19)]
    write_csv(*rows)

    start = ("batch", "clerk", "rows.csv", "--out", "out.jsonl", "--concurrency", "3", "--json")
    ends = [script(*start, PERRON_LEASE_S="1") for _ in range(3)]

    assert [end.code for end in ends] == [-9, -9, 0], ends[-1].err
    assert ends[-1].json["done"] == len(rows)
    lines = results(perron.directory)
    assert [line["row"] for line in lines] == list(range(1, len(rows) + 1))
    assert [line["output"]["seen"]["text"] for line in lines] == rows
    assert runs(database_url) == sorted((line["run_id"], "success") for line in lines)
    # A node may begin again with its killed process; what was over is over.
    begun = Counter((perron.directory / LEDGER).read_text().splitlines())
    assert begun.keys() == set(rows)
    assert sum(begun.values()) <= len(rows) + 2 * 3


def test_a_torn_line_and_a_lost_one_are_written_again_without_a_new_run(
    perron: CommandLine, write_csv: Callable[..., None], database_url: str
) -> None:
    write_csv("row 1", "row 2", "row 3")
    out = perron.directory / "out.jsonl"
    assert batch(perron).code == 0
    before, lines = results(perron.directory), out.read_bytes().splitlines(keepends=True)

    out.write_bytes(lines[0] + lines[1][:40])
    done = batch(perron)

    assert done.code == 0, done.err
    assert "1 of 3 rows have their result" in done.err
    assert results(perron.directory) == before
    assert len(runs(database_url)) == 3
    assert sorted((perron.directory / LEDGER).read_text().splitlines()) == ["row 1", "row 2", "row 3"]


def test_rows_that_wait_and_rows_that_fail_are_results_too(
    perron: CommandLine, write_csv: Callable[..., None]
) -> None:
    write_csv("ask 1", "row 2")
    waiting = batch(perron, "--json")
    write_csv("ask 1", "row 2", "fail 3")
    failing = perron("batch", "clerk", "rows.csv", "--out", "other.jsonl")

    assert (waiting.code, waiting.json["waiting"], waiting.json["done"]) == (3, 1, 1)
    asked = results(perron.directory)[0]
    assert asked["status"] == "success"
    assert asked["waiting"][0]["kind"] == "interrupt"
    assert asked["waiting"][0]["id"] in perron("asks", "list", "--json").out
    assert failing.code == 1
    assert "1 done, 1 waiting for a person, 1 failed" in failing.out
    failed = next(line for line in results(perron.directory, "other.jsonl") if line["row"] == 3)
    assert failed["error"] == {"error": "ValueError", "message": "cannot do that"}


def test_rows_of_one_thread_keep_their_order_and_wait_for_its_person(
    perron: CommandLine, write_csv: Callable[..., None]
) -> None:
    write_csv("a,row 1", "b,ask 2", "a,row 3", "b,row 4", ",row 5", "a,row 6", heading="who,text")

    done = batch(perron, "--thread-column", "who", "--json")

    assert (done.code, done.json["held"]) == (3, 1)
    lines = {line["row"]: line for line in results(perron.directory)}
    assert set(lines) == {1, 2, 3, 5, 6}
    assert lines[1]["thread_id"] == lines[3]["thread_id"] == lines[6]["thread_id"]
    assert len({line["thread_id"] for line in lines.values()}) == 3
    told = (perron.directory / LEDGER).read_text().splitlines()
    assert [text for text in told if text in ("row 1", "row 3", "row 6")] == ["row 1", "row 3", "row 6"]

    ask = lines[2]["waiting"][0]["id"]
    assert perron("answer", ask, "--value", "true").code == 0
    again = batch(perron, "--thread-column", "who")
    assert results(perron.directory)[3]["row"] == 4
    assert again.code == 3, "row 2 itself still counts as it came out"


def test_json_lines_are_inputs_as_they_stand(perron: CommandLine) -> None:
    rows = [{"text": "é", "copies": 3}, {"text": "\ud800 \x00", "note": None}]
    text = "\n\n".join(json.dumps(row) for row in rows)
    (perron.directory / "rows.jsonl").write_text(text)

    done = perron("batch", "clerk", "rows.jsonl", "--out", "out.jsonl")

    assert done.code == 0, done.err
    assert [line["output"]["seen"] for line in results(perron.directory)] == [
        {"text": "é", "copies": 3},
        {"text": "� �", "note": None},
    ]


def test_what_does_not_fit_is_refused_before_anything_runs(
    perron: CommandLine, write_csv: Callable[..., None], database_url: str
) -> None:
    def refused(*arguments: str) -> str:
        done = perron("batch", *arguments)
        assert done.code == 2, done.err
        assert done.err.startswith("Error: ")
        assert done.err.count("\n") == 1
        return str(done.err)

    directory = perron.directory
    write_csv("row 1,x", "row 2,3", heading="text,copies")
    (directory / "broken.jsonl").write_text('{"text": "a"}\n\n{"text": "b"\n')
    (directory / "other.csv").write_text("txt\na\n")
    (directory / "latin.csv").write_bytes("text\nhé\n".encode("latin-1"))
    (directory / "notes.jsonl").write_text('{"row": 1}\n')
    (directory / "heading.csv").write_text("text\n")
    (directory / "empty.csv").write_text("")
    (directory / "empty.jsonl").write_text("")
    (directory / "blank.jsonl").write_text("\n \n")
    out = ("--out", "out.jsonl")

    assert "clerk" in refused("clark", "rows.csv", *out)
    assert "rows.tsv" in refused("clerk", "rows.tsv", *out)
    assert "no such file" in refused("clerk", "none.csv", *out)
    assert "row 1: " in refused("clerk", "rows.csv", *out)
    assert "line 3 is no JSON" in refused("clerk", "broken.jsonl", *out)
    assert "text=COLUMN" in refused("clerk", "other.csv", *out).replace("FIELD", "text")
    assert "Did you mean 'txt'?" in refused("clerk", "other.csv", *out, "--column", "text=text")
    assert "Did you mean 'text'?" in refused("clerk", "other.csv", *out, "--column", "txt")
    assert "has no column 'who'" in refused(
        "clerk", "other.csv", *out, "--column", "text=txt", "--thread-column", "who"
    )
    assert "not UTF-8" in refused("clerk", "latin.csv", *out)
    assert "heading.csv has no rows" in refused("clerk", "heading.csv", *out)
    assert "empty.csv is empty" in refused("clerk", "empty.csv", *out)
    assert "empty.jsonl has no rows" in refused("clerk", "empty.jsonl", *out)
    assert "blank.jsonl has no rows" in refused("clerk", "blank.jsonl", *out)
    assert "names the file that is read" in refused("clerk", "other.csv", "--out", "other.csv")
    assert runs(database_url) == []
    assert not (directory / "out.jsonl").exists()

    assert "line 1 is no result" in refused("clerk", "other.csv", "--column", "text=txt", "--out", "notes.jsonl")
    assert runs(database_url) == []


def test_results_of_another_batch_are_not_gone_on_with(
    perron: CommandLine, write_csv: Callable[..., None]
) -> None:
    write_csv("row 1")
    assert batch(perron).code == 0

    write_csv("row 1", "row 2")
    changed = batch(perron)

    assert changed.code == 2
    assert "another batch" in changed.err
    assert len(results(perron.directory)) == 1


def test_two_batches_do_not_write_one_file(
    perron: CommandLine, write_csv: Callable[..., None], database_url: str
) -> None:
    write_csv("row 1")
    with (perron.directory / "out.jsonl").open("a") as out:
        fcntl.flock(out, fcntl.LOCK_EX)
        done = batch(perron)

    assert done.code == 2
    assert "at this moment" in done.err
    assert runs(database_url) == []
