"""Places where a test makes this process die or a safeguard stand aside.

`PERRON_FAILPOINTS="call.after_sent=kill,fence=off"` in the environment switches them on at start; without it,
`hit` is one look into an empty dict. `kill` ends the process with SIGKILL, as an out-of-memory killer would;
`kill@3` does so at the third hit; `off` makes `hit` return True, which the safeguard takes as its leave.

Points of a write: `call.before_sent`, `call.after_sent` (committed, nothing has left), `call.after_answer` (not
recorded), `call.after_done`. Of a run, between two commits: `run.after_claim`, `checkpoint.before`,
`checkpoint.after`, `writes.before`, `event.before`, `run.before_finish`, `run.after_finish`.

Safeguards: `journal` (calls are not looked up), `lease` (not checked before a call leaves), `fence` (not set
before writes), `liveness` (every worker counts as dead), `head` (runs of a thread do not wait for one another),
`input` (given again at each attempt), `bell` (not heard), `sweep` (nobody looks for runs that are due).
"""

from __future__ import annotations

import os
import signal
from collections import Counter

_hits: Counter[str] = Counter()
_SIGNALS = {"kill": "SIGKILL", "stop": "SIGSTOP"}


def _read() -> dict[str, str]:
    text = os.environ.get("PERRON_FAILPOINTS", "")
    return dict(part.strip().split("=", 1) for part in text.split(",") if "=" in part)


_active = _read()


def hit(point: str) -> bool:
    """Pass a fail point: die or freeze there, or return True when the safeguard of this name is switched off."""
    if not _active or point not in _active:
        return False
    action, _, at = _active[point].partition("@")
    _hits[point] += 1
    if action == "off":
        return True
    if action in _SIGNALS and _hits[point] == int(at or 1):
        os.kill(os.getpid(), getattr(signal, _SIGNALS[action], signal.SIGTERM))
    return False
