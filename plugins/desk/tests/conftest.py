"""A real desk server for the tests of this directory."""

from collections.abc import Iterator

import httpx
import pytest

from perron_desk_server.process import DeskProcess, start_desk


@pytest.fixture(scope="session")
def desk_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeskProcess]:
    with start_desk(tmp_path_factory.mktemp("desk") / "desk.sqlite3") as desk:
        yield desk


@pytest.fixture
def desk(desk_process: DeskProcess) -> DeskProcess:
    """The desk with an empty book, no fault armed and nothing held."""
    desk_process.disarm()
    desk_process.release()
    desk_process.reset()
    return desk_process


@pytest.fixture
def api(desk: DeskProcess) -> Iterator[httpx.Client]:
    """A client of the desk that bears its token."""
    with httpx.Client(base_url=desk.url, headers={"Authorization": f"Bearer {desk.token}"}, timeout=20) as client:
        yield client
