"""Plugins that are broken in every way beside good ones, as real distributions in a process of their own."""

from __future__ import annotations

from typing import Any

import pytest

GOOD = """
    from perron.plugins.agent import Agent
    from perron.plugins.hooks import hookimpl

    class Mail:
        key = "mail"

    @hookimpl
    def perron_agents():
        return [Agent("greeter", lambda: None, description="Says hello.")]

    @hookimpl
    async def perron_integrations():
        return [Mail]
"""

BROKEN = {
    "raising": "raise RuntimeError('no licence')",
    "hanging": "import threading; threading.Event().wait()",
    "exiting": "import sys; sys.exit(3)",
    "garbled": "def broken(:",
    "misspelled": """
        from perron.plugins.hooks import hookimpl
        @hookimpl
        def perron_agent(): return []
    """,
    "wrong_arguments": """
        from perron.plugins.hooks import hookimpl
        @hookimpl
        def perron_startup(platform, more): pass
    """,
    "hookless": "def perron_agents(): return []",
    "wrapping": """
        from perron.plugins.hooks import hookimpl
        @hookimpl(wrapper=True)
        def perron_agents(): return (yield)
    """,
    "failing_hook": """
        from perron.plugins.hooks import hookimpl
        @hookimpl
        def perron_agents(): return 1 / 0
    """,
    "hanging_hook": """
        import asyncio
        from perron.plugins.hooks import hookimpl
        @hookimpl
        async def perron_agents(): await asyncio.Event().wait()
    """,
    "blocking_hook": """
        import threading
        from perron.plugins.hooks import hookimpl
        @hookimpl
        def perron_integrations(): threading.Event().wait()
    """,
    "wrong_answer": """
        from perron.plugins.hooks import hookimpl
        @hookimpl
        def perron_integrations(): return ["mail"]
    """,
}

Site = Any  # the fixture's class lies in conftest.py


@pytest.fixture(scope="module")
def broken_and_good(shared_site: Site) -> Any:
    """What one process makes of all of them at once."""
    shared_site.install("acme-good", files={"good_plugin.py": GOOD}, plugins="good = good_plugin")
    for name, source in BROKEN.items():
        shared_site.install(
            f"acme-{name.replace('_', '-')}",
            files={f"{name}_plugin.py": source},
            plugins=f"{name} = {name}_plugin",
        )
    return shared_site.load(PERRON_PLUGIN_TIMEOUT_S="1")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("raising", "raising_plugin cannot be loaded: RuntimeError: no licence (raising_plugin.py, line 1)."),
        ("hanging", "hanging_plugin cannot be loaded: it did not finish importing within 1 s."),
        ("exiting", "exiting_plugin cannot be loaded: sys.exit(3) was called."),
        ("garbled", "garbled_plugin cannot be loaded: SyntaxError: invalid syntax (garbled_plugin.py, line 1)."),
        ("misspelled", "it implements perron_agent, which is no hook. Did you mean 'perron_agents'"),
        ("wrong_arguments", "perron_startup"),
        ("hookless", "it implements no hook: decorate its hook functions with `@hookimpl` of perron."),
        ("wrapping", "its perron_agents is a wrapper"),
        ("failing_hook", "ZeroDivisionError: division by zero (failing_hook_plugin.py, line 4)."),
        ("hanging_hook", "Its hook perron_agents failed: it did not finish perron_agents within 1 s."),
        ("blocking_hook", "it did not finish perron_integrations within 1 s."),
        ("wrong_answer", "Its perron_integrations returned 'mail', which is no Integration class."),
    ],
)
def test_a_broken_plugin_fails_with_a_sentence(broken_and_good: Any, name: str, reason: str) -> None:
    plugin = broken_and_good["plugins"][name]

    assert plugin["state"] == "failed"
    assert reason in plugin["error"]
    assert plugin["error"].endswith((".", "?"))


def test_broken_plugins_leave_a_good_one_alone(broken_and_good: Any) -> None:
    good = broken_and_good["plugins"]["good"]

    assert (good["state"], good["distribution"], good["version"]) == ("loaded", "acme-good", "1.0")
    assert good["load_ms"] >= 0
    assert broken_and_good["agents"]["greeter"]["state"] == "loaded"
    assert broken_and_good["integrations"] == ["mail"]


def test_two_plugins_with_one_integration_key_both_fail_and_name_both_distributions(site: Site) -> None:
    source = GOOD.replace("greeter", "{agent}")
    site.install(
        "acme-mail", files={"one_plugin.py": source.replace("{agent}", "one")}, plugins="one = one_plugin"
    )
    site.install(
        "other-mail", files={"two_plugin.py": source.replace("{agent}", "two")}, plugins="two = two_plugin"
    )

    found = site.load()

    for name in ("one", "two"):
        assert found["plugins"][name]["state"] == "failed"
        assert "'mail' is brought by acme-mail and other-mail" in found["plugins"][name]["error"]
    assert found["integrations"] == []
    assert not found["agents"].keys() & {"greeter-one", "greeter-two"}


def test_denying_one_of_two_that_clash_lets_the_other_in(site: Site) -> None:
    site.install("acme-mail", files={"one_plugin.py": GOOD}, plugins="one = one_plugin")
    site.install("other-mail", files={"two_plugin.py": GOOD}, plugins="two = two_plugin")

    found = site.load(PERRON_PLUGINS_DENY="Other_Mail")

    assert found["plugins"]["one"]["state"] == "loaded"
    assert found["plugins"]["two"]["state"] == "denied"
    assert found["plugins"]["two"]["error"] == "PERRON_PLUGINS_DENY names it."
    assert found["integrations"] == ["mail"]


@pytest.mark.parametrize(("allowed", "state"), [("none", "denied"), ("good", "loaded"), ("acme-good", "loaded")])
def test_only_plugins_that_are_named_are_loaded(site: Site, allowed: str, state: str) -> None:
    site.install("acme-good", files={"good_plugin.py": GOOD}, plugins="good = good_plugin")
    site.install(
        "acme-raising", files={"raising_plugin.py": BROKEN["raising"]}, plugins="raising = raising_plugin"
    )

    found = site.load(PERRON_PLUGINS=allowed)

    assert found["plugins"]["good"]["state"] == state
    assert found["plugins"]["raising"]["state"] == "denied"
    assert found["plugins"]["raising"]["load_ms"] is None


@pytest.mark.parametrize("variable", ["PERRON_PLUGINS", "PERRON_PLUGINS_DENY"])
def test_a_list_that_names_no_installed_plugin_is_refused_with_the_nearest(site: Site, variable: str) -> None:
    site.install("acme-good", files={"good_plugin.py": GOOD}, plugins="good = good_plugin")

    found = site.load(**{variable: "goood"})

    assert found["error"].startswith(
        f"{variable} names 'goood', which is no installed plugin. Did you mean 'good'"
    )


def test_two_distributions_with_one_entry_point_name_are_told_apart(site: Site) -> None:
    site.install("acme-good", files={"good_plugin.py": GOOD}, plugins="mail = good_plugin")
    site.install("acme-raising", files={"raising_plugin.py": BROKEN["raising"]}, plugins="mail = raising_plugin")

    found = site.load()

    assert found["plugins"]["acme-good:mail"]["state"] == "loaded"
    assert found["plugins"]["acme-raising:mail"]["state"] == "failed"
