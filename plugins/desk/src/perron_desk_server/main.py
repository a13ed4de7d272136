"""The command `perron-desk-server`."""

import argparse
import errno
import json
import os
import signal
import socket
import sqlite3
import sys
from pathlib import Path
from threading import Thread

from perron_desk_server.app import create_app
from perron_desk_server.defaults import DEFAULT_TOKEN
from perron_desk_server.serving import DeskServer
from perron_desk_server.store import Store
from perron_desk_server.waiting import WaitingRoom


def run() -> None:
    """Serve until SIGTERM (exit code 0), Ctrl-C (130) or, with `--exit-with-parent`, the end of stdin (0)."""
    arguments = _parser().parse_args()
    # uvicorn raises the signal that ended it once more when it is done.
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(0))
    try:
        _serve(arguments)
    except (OSError, sqlite3.Error) as exc:
        sys.exit(f"perron-desk-server: {exc}")
    except KeyboardInterrupt:
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="perron-desk-server",
        description="A small helpdesk over HTTP to try integrations against. "
        'When it is ready it prints one line to stdout: {"url": ..., "db": ...}.',
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    parser.add_argument("--db", type=Path, default=Path("desk.sqlite3"), help="SQLite file (default: %(default)s)")
    parser.add_argument(
        "--token",
        default=os.environ.get("DESK_TOKEN", DEFAULT_TOKEN),
        help=f"bearer token that clients send (default: the environment's DESK_TOKEN, else {DEFAULT_TOKEN})",
    )
    parser.add_argument("--exit-with-parent", action="store_true", help="end when stdin ends")
    return parser


def _serve(arguments: argparse.Namespace) -> None:
    with _listen(arguments.host, arguments.port) as listener:
        db: Path = arguments.db.absolute()
        db.parent.mkdir(parents=True, exist_ok=True)
        store = Store(db)
        try:
            room = WaitingRoom()
            host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
            url = f"http://{host}:{listener.getsockname()[1]}"
            ready = json.dumps({"url": url, "db": str(db)})
            app = create_app(store, token=arguments.token, room=room)
            server = DeskServer(app, room=room, on_ready=lambda: print(ready, flush=True))  # noqa: T201
            if arguments.exit_with_parent:
                Thread(target=_end_with_stdin, args=(server,), daemon=True).start()
            server.run(sockets=[listener])
        finally:
            store.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as exc:
        is_taken = isinstance(exc, OSError) and exc.errno == errno.EADDRINUSE
        taken = "another process does; end that one, or name another port with --port (0 takes a free one)."
        raise OSError(f"cannot listen on {host} port {port}: {taken if is_taken else exc}") from exc
    # asyncio does it only for sockets that it has opened itself; without it each answer takes 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _end_with_stdin(server: DeskServer) -> None:
    # os.read and not sys.stdin: a thread inside its buffer would break the interpreter's shutdown.
    while os.read(0, 4096):
        pass
    server.should_exit = True


if __name__ == "__main__":
    run()
