"""A chat model for tests: a local server that speaks OpenAI's chat completions and plays a script."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, cast

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Says:
    """The model answers with text."""

    text: str


@dataclass(frozen=True, slots=True)
class CallsTools:
    """The model calls tools, several at once: `CallsTools(("get_weather", {"city": "Rome"}), ...)`."""

    calls: tuple[tuple[str, Body], ...]

    def __init__(self, *calls: tuple[str, Body]) -> None:
        object.__setattr__(self, "calls", calls)


@dataclass(frozen=True, slots=True)
class Answers:
    """The model fills the schema of a structured output, whichever way the client has asked for it."""

    value: Body


@dataclass(frozen=True, slots=True)
class Fails:
    """The server answers with an error. Clients repeat 429 and 5xx by themselves."""

    status: int
    message: str = "The model is not well."


Reply = Says | CallsTools | Answers | Fails


class ModelServer:
    """Plays a script, one reply a request, on a free port of 127.0.0.1; `requests` keeps what was asked.

    Args:
        script: Replies in order, or a function of the request's body. A request after the last one is answered
            with 400, which no client repeats.

    As a context manager it runs inside the block. Give clients `base_url` and any API key.
    """

    def __init__(self, script: Iterable[Reply] | Callable[[Body], Reply]) -> None:
        self.requests: list[Body] = []
        self._lock = threading.Lock()
        self._next = script if callable(script) else _in_order(script)
        self._http = _Http(self._reply_to)
        self._thread = threading.Thread(
            # How soon it notices that it is to stop.
            target=self._http.serve_forever,
            args=(0.02,),
            name="model-server",
            daemon=True,
        )

    @property
    def base_url(self) -> str:
        """What OpenAI's clients take as `base_url`."""
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def __enter__(self) -> ModelServer:
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _reply_to(self, body: Body) -> Reply:
        with self._lock:
            self.requests.append(body)
            return self._next(body)


def _in_order(script: Iterable[Reply]) -> Callable[[Body], Reply]:
    replies = iter(script)
    return lambda _body: next(replies, Fails(400, "The script has no reply left."))


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, reply_to: Callable[[Body], Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply_to = reply_to


@dataclass(slots=True)
class _Completion:
    """A reply as the message of a completion."""

    content: str | None = None
    tool_calls: list[Body] = field(default_factory=list)

    @property
    def finish_reason(self) -> str:
        return "tool_calls" if self.tool_calls else "stop"

    def message(self) -> Body:
        return {"role": "assistant", "content": self.content, **self._calls()}

    def deltas(self) -> Iterator[Body]:
        """The message in pieces: text word by word, each tool call's arguments in two halves."""
        yield {"role": "assistant", "content": ""}
        for word in re.findall(r"\S+\s*|\s+", self.content or ""):
            yield {"content": word}
        for index, call in enumerate(self.tool_calls):
            name, arguments = call["function"]["name"], call["function"]["arguments"]
            half = len(arguments) // 2
            head = {"index": index, "id": call["id"], "type": "function"}
            yield {"tool_calls": [{**head, "function": {"name": name, "arguments": arguments[:half]}}]}
            yield {"tool_calls": [{"index": index, "function": {"arguments": arguments[half:]}}]}

    def _calls(self) -> Body:
        return {"tool_calls": self.tool_calls} if self.tool_calls else {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    _USAGE: ClassVar[Body] = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}

    def do_POST(self) -> None:
        """Answer a request for a completion."""
        body: Body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        if not self.path.endswith("/chat/completions"):
            self._send_json(404, {"error": {"message": f"There is no {self.path}."}})
            return
        http = cast("_Http", self.server)
        reply = http.reply_to(body)
        if isinstance(reply, Fails):
            self._send_json(reply.status, {"error": {"message": reply.message, "type": "error"}})
        elif body.get("stream"):
            self._stream(body, _complete(reply, body))
        else:
            completion = _complete(reply, body)
            choice = {"index": 0, "message": completion.message(), "finish_reason": completion.finish_reason}
            self._send_json(200, {**_head(body, "chat.completion"), "choices": [choice], "usage": self._USAGE})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name in the base class
        """Stay silent: tests look at `ModelServer.requests`."""

    def _send_json(self, status: int, value: Body) -> None:
        encoded = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def _stream(self, body: Body, completion: _Completion) -> None:
        head = _head(body, "chat.completion.chunk")
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        # The end of the connection is the end of the stream.
        self.send_header("Connection", "close")
        self.end_headers()
        for delta in completion.deltas():
            self._send_event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        last = {"index": 0, "delta": {}, "finish_reason": completion.finish_reason}
        self._send_event({**head, "choices": [last]})
        if (body.get("stream_options") or {}).get("include_usage"):
            self._send_event({**head, "choices": [], "usage": self._USAGE})
        self.wfile.write(b"data: [DONE]\n\n")

    def _send_event(self, value: Body) -> None:
        self.wfile.write(f"data: {json.dumps(value)}\n\n".encode())
        self.wfile.flush()


def _head(body: Body, kind: str) -> Body:
    return {"id": "chatcmpl-test", "object": kind, "created": 0, "model": body.get("model", "test")}


def _complete(reply: Says | CallsTools | Answers, body: Body) -> _Completion:
    turn = sum(message["role"] == "assistant" for message in body["messages"])
    if isinstance(reply, Says):
        return _Completion(content=reply.text)
    if isinstance(reply, CallsTools):
        return _Completion(
            tool_calls=[
                _tool_call(f"call_{turn}_{n}", name, arguments) for n, (name, arguments) in enumerate(reply.calls)
            ]
        )
    if "response_format" in body:
        return _Completion(content=json.dumps(reply.value))
    return _Completion(
        tool_calls=[_tool_call(f"call_{turn}_0", body["tools"][0]["function"]["name"], reply.value)]
    )


def _tool_call(call_id: str, name: str, arguments: Body) -> Body:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
