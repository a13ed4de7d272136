"""A hall for each test that asks for one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.soak.process import Cradle
from tests.worker.hall import Hall, open_hall


@pytest.fixture
async def hall(database_url: str, tmp_path: Path, cradle: Cradle) -> AsyncIterator[Hall]:
    """A database and a platform that only puts runs in line; a test starts the workers."""
    async with open_hall(database_url, tmp_path, cradle) as hall:
        yield hall
