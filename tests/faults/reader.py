"""A process that reads a run which is to be cancelled when this process is gone; prints the ids of events."""

from __future__ import annotations

import asyncio
import json
import sys

from perron.core.platform import Platform


async def main(agent: str, given: str) -> None:
    async with Platform.open(worker=False) as platform:
        events = platform.stream(agent, json.loads(given), stream_mode=["updates"], on_disconnect="cancel")
        async for event in events:
            sys.stdout.write(f"{json.dumps(event.data)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
