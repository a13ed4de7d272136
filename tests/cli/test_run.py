"""Running agents and answering what they ask."""

import json
import os
import signal
import time
from pathlib import Path
from uuid import uuid4

import pytest
from tests.cli.conftest import CommandLine, Script

TEXT = '{"text": "hello"}'


def test_a_run_prints_its_output_and_ends_with_0(cli: CommandLine) -> None:
    done = cli("run", "echo", "--input", TEXT)

    assert done.code == 0
    assert '"answer": "You said: hello"' in done.out
    assert done.err == ""


def test_a_program_gets_one_object(cli: CommandLine) -> None:
    done = cli("run", "echo", "--input", TEXT, "--json")

    assert done.json["status"] == "success"
    assert done.json["output"] == {"text": "hello", "answer": "You said: hello"}
    assert done.json["waiting"] == []
    assert set(done.json) == {"run_id", "thread_id", "status", "output", "error", "waiting"}


@pytest.mark.parametrize("given", ["@input.json", "-"])
def test_input_comes_from_a_file_or_from_stdin(cli: CommandLine, given: str) -> None:
    (cli.directory / "input.json").write_text(TEXT)

    assert cli("run", "echo", "-i", given, "--json", given=TEXT.encode()).json["output"]["text"] == "hello"


def test_20_megabytes_of_hostile_text_come_through(cli: CommandLine) -> None:
    text = '"a\\u0000b\\ud800c' + "x" * 20_000_000 + '"'
    (cli.directory / "large.json").write_text(f'{{"text": {text}, "said": NaN}}')

    done = cli("run", "echo", "-i", "@large.json", "--json")

    assert done.code == 0
    assert done.json["output"]["text"].startswith("a\ufffdb\ufffdcxxx")
    assert done.json["output"]["said"] is None


def test_further_fields_may_come_along_with_the_input(cli: CommandLine) -> None:
    given = {"text": "hello", "texts": 1, "customer": "ann"}

    assert cli("run", "echo", "-i", json.dumps(given), "--json").json["output"]["text"] == "hello"


def test_a_thread_goes_on(cli: CommandLine) -> None:
    thread = cli("run", "echo", "-i", TEXT, "--json").json["thread_id"]

    second = cli("run", "echo", "-i", '{"text": "again"}', "--thread", thread, "--json")

    assert second.json["thread_id"] == thread
    assert [run["thread_id"] for run in cli("runs", "list", "--json").json] == [thread, thread]


def test_a_thread_that_there_is_not_is_made_only_on_request(cli: CommandLine) -> None:
    thread = str(uuid4())

    refused = cli("run", "echo", "-i", TEXT, "--thread", thread)
    threads = cli("threads", "list", "--json").json
    made = cli("run", "echo", "-i", TEXT, "--thread", thread, "--if-not-exists", "create", "--json")

    assert refused.code == 2
    assert f"There is no thread {thread}" in refused.err
    assert threads == []
    assert (made.code, made.json["thread_id"]) == (0, thread)


def test_a_failed_run_ends_with_1_and_says_why(cli: CommandLine) -> None:
    done = cli("run", "failing", "-i", TEXT)

    assert done.code == 1
    assert "The run failed: ValueError: cannot work with 'hello'" in done.out
    assert "perron runs retry " in done.out


def test_streamed_events_are_lines_and_the_result_is_the_last(cli: CommandLine) -> None:
    done = cli("run", "echo", "-i", TEXT, "--stream", "updates", "--stream", "custom", "--json")

    events = [(line["event"], line["data"]) for line in done.lines]
    assert ("custom", {"progress": "thinking"}) in events
    assert ("updates", {"work": {"answer": "You said: hello"}}) in events
    assert events[-1][0] == "result"
    assert events[-1][1]["status"] == "success"


def test_streamed_tokens_are_text_for_people(cli: CommandLine) -> None:
    messages = json.dumps({"messages": [{"role": "user", "content": "count"}]})

    done = cli("run", "talk", "-i", messages, "--stream", "messages")

    assert done.code == 0
    assert done.out.startswith("one two three\n")


def test_an_interrupt_ends_with_3_and_the_shown_command_answers_it(cli: CommandLine) -> None:
    asked = cli("run", "asking", "-i", "{}")
    command = next(line.split() for line in asked.out.splitlines() if line.strip().startswith("perron answer"))

    answered = cli("answer", command[2], "--value", '"blue"', "--json")

    assert asked.code == 3
    assert "Waiting for a person (interrupt): Which colour?" in asked.out
    assert answered.code == 0
    assert answered.json["output"] == {"said": "blue"}


def test_a_run_that_asks_again_ends_with_3_again(cli: CommandLine) -> None:
    first = cli("run", "asking_twice", "-i", "{}", "--json")

    second = cli("answer", first.json["waiting"][0]["id"], "--value", "1", "--json")
    third = cli("answer", second.json["waiting"][0]["id"], "--value", "2", "--json")

    assert (first.code, second.code, third.code) == (3, 3, 0)
    assert third.json["output"] == {"said": [1, 2]}


def test_a_second_answer_is_refused(cli: CommandLine) -> None:
    ask = cli("run", "asking", "-i", "{}", "--json").json["waiting"][0]["id"]
    cli("answer", ask, "--value", "1")

    refused = cli("answer", ask, "--value", "2")

    assert refused.code == 2
    assert "does not wait" in refused.err
    shown = cli("asks", "show", ask, "--json")
    assert shown.json["answer"] == {"decision": "respond", "value": 1, "by": "system"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--approve"], "takes respond, not 'approve'"),
        ([], "Say what to answer"),
        (["--approve", "--reject"], "one decision"),
        (["--reason", "no", "--value", "1"], "--reason goes with --reject"),
        (["--decision", "respnd", "--value", "1"], "Did you mean 'respond'?"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(cli: CommandLine, arguments: list[str], said: str) -> None:
    ask = cli("run", "asking", "-i", "{}", "--json").json["waiting"][0]["id"]

    refused = cli("answer", ask, *arguments)

    assert refused.code == 2
    assert said in refused.err
    assert len(cli("asks", "list", "--json").json) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ehco", "-i", TEXT], "There is no agent 'ehco'. Did you mean 'echo'?"),
        (["echo", "-i", '{"text": "x"'], "at line 1, column 13): quote it for the shell"),
        (["echo", "-i", "@nowhere.json"], "names the file nowhere.json, which cannot be read"),
        (["echo", "-i", "@latin.json"], "latin.json is not UTF-8 (byte 10)"),
        (["echo", "-i", ""], "--input is empty"),
        (["echo", "-i", '{"text": 5}'], "text"),
        (["echo", "-i", TEXT, "--context", "[]"], "--context takes a JSON object"),
        (["echo", "-i", TEXT, "--config", '{"recursion_limit": "x"}'], "config.recursion_limit does not fit"),
        (["echo", "-i", TEXT, "--config", '{"recursion_limit": 0}'], "config.recursion_limit does not fit"),
        (["echo", "-i", TEXT, "--config", '{"configurable": 5}'], "config.configurable does not fit"),
        (["echo", "-i", TEXT, "--stream", "vlaues"], "Did you mean 'values'?"),
        (["echo", "-i", TEXT, "--thread", "abc"], "'abc' is no thread id"),
        (["echo", "-i", TEXT, "--inptu", "x"], "--inptu"),
        (["echo", "-i", TEXT, "--if-not-exists", "crate"], "takes create or reject, not 'crate'"),
        (["echo", "-i", TEXT, "--multitask-strategy", "drop"], "interrupt or rollback, not 'drop'"),
        (["echo", "-i", '{"text": "x", "anwser": 1}'], "has the unknown field 'anwser'. Did you mean 'answer'?"),
        (["echo"], "The agent 'echo' starts a thread with an input, and there is none: give --input"),
    ],
)
def test_bad_usage_is_one_sentence_and_ends_with_2(cli: CommandLine, arguments: list[str], said: str) -> None:
    (cli.directory / "latin.json").write_bytes(b'{"text": "\xe9"}')

    done = cli("run", *arguments)

    assert done.code == 2
    assert said in done.err
    assert done.err.startswith("Error: ")
    assert done.err.count("\n") == 1
    assert done.out == ""


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("nonsense", "--value is no JSON"),
        ('"nonsense"', "takes an object with the fields cents, payment"),
        ('{"payment": "p1", "cnts": 5}', "unknown field 'cnts'. Did you mean 'cents'"),
        ('{"payment": "p1", "cents": "5"}', "does not fit at cents: it takes a number, not a text"),
    ],
)
def test_an_edit_that_does_not_fit_leaves_the_ask_as_it_was(cli: CommandLine, value: str, said: str) -> None:
    ask = cli("run", "approving", "-i", TEXT, "--json").json["waiting"][0]["id"]

    refused = cli("answer", ask, "--decision", "edit", "--value", value)

    assert refused.code == 2
    assert said in refused.err
    assert refused.err.count("\n") == 1
    edited = cli("answer", ask, "--decision", "edit", "--value", '{"payment": "p1", "cents": 5}', "--json")
    assert edited.json["output"]["said"] == {"payment": "p1", "cents": 5}


def test_an_unknown_ask_is_refused(cli: CommandLine) -> None:
    done = cli("answer", str(uuid4()), "--approve")

    assert done.code == 2
    assert "`perron asks list` shows what waits" in done.err


def test_ctrl_c_leaves_the_run_in_line_and_the_next_goes_on_with_it(cli: CommandLine, script: Script) -> None:
    file = cli.directory / "order"
    with script.start("run", "two_steps", "-i", json.dumps({"text": str(file)}), "--json") as process:
        _wait_for(file.with_suffix(".begun"))
        process.send_signal(signal.SIGINT)
        file.write_text("go")
        out, err = process.communicate(timeout=60)
    run = cli("runs", "list", "--json").json[0]
    retried = cli("runs", "retry", run["run_id"], "--json")

    assert process.returncode == 130
    assert out == b""
    assert f"perron runs retry {run['run_id']}" in err.decode()
    assert "Traceback" not in err.decode()
    assert run["status"] == "pending"
    assert retried.code == 0
    assert retried.json["output"]["answer"].startswith("You said")


@pytest.mark.parametrize("agent", ["waiting", "blocking"])
def test_a_second_ctrl_c_leaves_at_once(cli: CommandLine, script: Script, agent: str) -> None:
    file = cli.directory / "order"
    with script.start("run", agent, "-i", json.dumps({"text": str(file)})) as process:
        _wait_for(file.with_suffix(".begun"))
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read().decode()
        process.wait(timeout=30)

    assert process.returncode == 130
    assert first.startswith(b"Stopping")
    assert "Leaving" in rest
    assert "Traceback" not in rest
    assert cli("runs", "list", "--json").json[0]["status"] in ("pending", "running")


def test_the_next_run_of_a_thread_takes_over_what_a_killed_process_left(cli: CommandLine, script: Script) -> None:
    cli.set("PERRON_LEASE_S", "2")
    file = cli.directory / "order"
    thread = str(uuid4())
    given = ("-i", json.dumps({"text": str(file)}), "--thread", thread, "--if-not-exists", "create")
    with script.start("run", "waiting", *given) as process:
        _wait_for(file.with_suffix(".begun"))
        while not _steps(cli, thread):
            assert process.poll() is None
        process.kill()
    file.write_text("go")

    done = cli("run", "echo", "-i", TEXT, "--thread", thread, "--json")

    assert done.code == 0
    assert "Waiting in line" in done.err
    newest, first = cli("runs", "list", "--thread", thread, "--json").json
    assert (first["status"], first["epoch"]) == ("success", 2)
    assert newest["run_id"] == done.json["run_id"]
    assert _steps(cli, thread) == [("work", "lost"), ("work", "done")]


def _steps(cli: CommandLine, thread: str) -> list[tuple[str, str]]:
    """Return node and state of each step of the thread's first run."""
    run = cli("runs", "list", "--thread", thread, "--json").json[-1]["run_id"]
    timeline = cli("runs", "show", run, "--json").json["timeline"]
    return [(entry["name"], entry["state"]) for entry in timeline if entry["kind"] == "step"]


def _wait_for(file: Path) -> None:
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline
        os.sched_yield()
