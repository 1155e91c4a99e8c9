"""What several contract tests are given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.forge_making import KINDS, Made
from tests.contract.forge_schemas import check
from tests.fakes.vendors import FakeVendors


@pytest.fixture(params=KINDS)
async def forge(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Made]:
    """Yield senders to one fake forge; every request of the test is checked against what the vendor publishes."""
    del anyio_backend
    async with FakeVendors() as vendors:
        made = Made(vendors, tmp_path, [], request.param)
        yield made
        for client in made.clients:
            await client.aclose()
        for each in vendors.requests:
            check(each)
        assert vendors.gitlab.commands == [], "no text of ours is a command"
