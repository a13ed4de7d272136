"""Where data leaves to: model hosts, integrations, tracing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlsplit

from perron.cli.checks.finding import Finding
from perron.services.setting import SettingView

_MODELS = {
    "OPENAI": ("OPENAI_BASE_URL", "OPENAI_API_BASE", "api.openai.com"),
    "ANTHROPIC": ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_URL", "api.anthropic.com"),
    "GOOGLE": ("GOOGLE_GEMINI_BASE_URL", "", "generativelanguage.googleapis.com"),
    "GEMINI": ("GOOGLE_GEMINI_BASE_URL", "", "generativelanguage.googleapis.com"),
    "MISTRAL": ("MISTRAL_BASE_URL", "", "api.mistral.ai"),
    "GROQ": ("GROQ_BASE_URL", "GROQ_API_BASE", "api.groq.com"),
    "COHERE": ("CO_API_URL", "", "api.cohere.com"),
    "DEEPSEEK": ("DEEPSEEK_API_BASE", "", "api.deepseek.com"),
    "AZURE_OPENAI": ("AZURE_OPENAI_ENDPOINT", "", "AZURE_OPENAI_ENDPOINT"),
}
"""By the prefix of `…_API_KEY`: the variables that name another host, and the host without them."""
_TRACING = {
    "LangSmith": (
        ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING_V2", "LANGCHAIN_TRACING"),
        ("LANGSMITH_ENDPOINT", "LANGCHAIN_ENDPOINT"),
        "api.smith.langchain.com",
    ),
    "OpenTelemetry": (
        (),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        "",
    ),
}
_MODEL_NAME = re.compile(r"[a-z_]+:[\w./-]+")
_URL = re.compile(r"https?://\S+")


def check_outbound(environment: Mapping[str, str], settings: Iterable[SettingView] | None) -> Iterator[Finding]:
    """Yield the hosts that this process's environment and settings name; agents' own code may know others.

    `settings` is None where they could not be read.
    """
    found = [*_tracing(environment), *_models(environment), *_settings(settings or ())]
    yield from found
    if settings is None:
        text = "Only the environment was looked at: the settings of agents and integrations could not be read."
        yield Finding("leaves to", "warning", text, "Mend what is broken above, and look again.")
    elif not found:
        yield Finding("leaves to", "ok", "No model host, integration or tracing is set up.")


def _models(environment: Mapping[str, str]) -> Iterator[Finding]:
    for prefix, (variable, other, default) in _MODELS.items():
        named = environment.get(variable) or environment.get(other or variable)
        if named or environment.get(f"{prefix}_API_KEY"):
            source = f"{variable} names it" if named else f"{prefix}_API_KEY is set"
            yield Finding("leaves to", "note", f"Models: {_host(named or default)} ({source}).")


def _tracing(environment: Mapping[str, str]) -> Iterator[Finding]:
    for name, (switches, endpoints, default) in _TRACING.items():
        endpoint = next((environment[e] for e in endpoints if environment.get(e)), "")
        is_on = (
            any(environment.get(s, "").lower() in ("true", "1") for s in switches) if switches else bool(endpoint)
        )
        if is_on:
            text = f"Tracing: {name} sends inputs, outputs and prompts to {_host(endpoint or default)}."
            advice = f"Unset {' and '.join(s for s in switches or endpoints if environment.get(s))} to stop it."
            yield Finding("leaves to", "warning", text, advice)


def _settings(settings: Iterable[SettingView]) -> Iterator[Finding]:
    for view in settings:
        value = view.value
        if not view.name.startswith(("agent.", "integration.")) or not isinstance(value, str):
            continue
        if _URL.match(value):
            yield Finding("leaves to", "note", f"{_host(value)} (setting {view.name}).")
        elif "model" in view.name.rpartition(".")[2] and _MODEL_NAME.fullmatch(value):
            yield Finding("leaves to", "note", f"Models: {value} (setting {view.name}).")


def _host(text: str) -> str:
    return urlsplit(text).netloc.rpartition("@")[2] or text
