"""`perron threads`: what people do to threads that grow old."""

from uuid import UUID

from tests.cli.conftest import CommandLine


def test_threads_are_made_copied_measured_and_pruned(cli: CommandLine) -> None:
    made = cli("threads", "create", "--metadata", '{"team": "desk"}', "--ttl", "60", "--json").json
    thread = made["thread_id"]
    assert (made["ttl"]["strategy"], made["ttl"]["ttl_minutes"]) == ("delete", 60)
    changed = cli("threads", "update", thread, "--ttl", "90", "--ttl-strategy", "keep_latest")
    assert "All but its latest state goes 90 minutes after its last update." in changed.out
    assert cli("run", "echo", "--thread", thread, "--input", '{"text": "hello"}').code == 0

    shown = cli("threads", "copy", thread)
    copied = cli("threads", "list", "--json").json[0]["thread_id"]
    assert copied != thread
    assert copied in shown.out

    stored = cli("threads", "storage", "--json").json
    assert [row["thread_id"] for row in stored["threads"]] == [thread, copied]
    largest, copy = stored["threads"]
    for row in (largest, copy):
        parts = sum(size for part, size in row.items() if part not in ("thread_id", "total"))
        assert row["total"] == parts > 0
    assert largest["checkpoints"] == copy["checkpoints"] > 500
    assert largest["events"] > 0 == copy["events"]
    tables = {f"{row['schema']}.{row['table']}": row for row in stored["tables"]}
    events = tables["perron.run_events"]
    assert events["total"] == events["data"] + events["indexes"] > events["indexes"] > 0
    assert {"langgraph.checkpoints", "pgqueuer.pgqueuer_log", "perron.calls"} <= tables.keys()
    assert cli("threads", "storage", thread, "--json").json == largest
    assert "all tables" in cli("threads", "storage").out

    latest = cli("threads", "prune", thread, "--strategy", "keep_latest", "--json").json
    assert latest == {"pruned": 1, "dry_run": False, "kept": []}
    assert len(cli("threads", "history", thread, "--json").json) == 1
    dry = cli("threads", "prune", "--older-than", "1d", "--dry-run")
    assert dry.out == "0 threads would be deleted.\n"
    assert cli("threads", "prune", "--status", "idle", "--older-than", "0m").out == "2 threads deleted.\n"


def test_a_thread_that_was_named_and_stays_fails_the_prune(cli: CommandLine) -> None:
    thread = cli("run", "asking", "--input", '{"text": "?"}', "--json").json["thread_id"]
    absent = str(UUID(int=7))

    done = cli("threads", "prune", thread, absent)

    assert done.code == 1
    assert "0 threads deleted." in done.out
    assert "It waits for a person" in done.out
    assert "There is no such thread." in done.out
    assert cli("threads", "prune", thread, "--waiting").out == "1 thread deleted.\n"


def test_a_prune_says_what_it_needs(alone: CommandLine) -> None:
    for arguments, sentence in (
        ((), "Name threads, or say which: --older-than AGE, --status STATUS."),
        ((str(UUID(int=7)), "--status", "idle"), "Name threads, or say which"),
        (("--older-than", "soon"), "--older-than takes a span such as 30d, 12h, 90m or 2w, not 'soon'."),
        (("--older-than", "9999999w"), "--older-than takes a span"),
        (("--status", "idle", "--strategy", "all"), "--strategy takes delete or keep_latest, not 'all'."),
        (("7",), "is no thread id"),
    ):
        done = alone("threads", "prune", *arguments)
        assert done.code == 2
        assert sentence in " ".join(done.err.split())


def test_a_change_says_what_does_not_fit(alone: CommandLine) -> None:
    thread = str(UUID(int=7))
    for arguments, sentence in (
        ((), "Nothing to change: give --metadata, --ttl or --no-ttl."),
        (("--ttl", "0"), "The option ttl does not fit"),
        (("--ttl", "5", "--no-ttl"), "--ttl and --no-ttl contradict each other."),
        (("--ttl", "5", "--ttl-strategy", "archive"), "The option strategy does not fit"),
    ):
        done = alone("threads", "update", thread, *arguments)
        assert done.code == 2
        assert sentence in " ".join(done.err.split())
