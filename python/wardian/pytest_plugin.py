"""A fixture for tests of untrusted code: ``def test_solution(wardian): wardian.run(...)``."""

from __future__ import annotations

import typing

import pytest

from .sandbox import Sandbox


@pytest.fixture
def wardian(request: pytest.FixtureRequest) -> typing.Iterator[Sandbox]:
    """A :class:`Sandbox`; ``@pytest.mark.wardian(memory="64M")`` gives it options."""
    options: typing.Dict[str, typing.Any] = {}
    for mark in reversed(list(request.node.iter_markers("wardian"))):
        options.update(mark.kwargs)
    with Sandbox(**options) as box:
        yield box


def pytest_configure(config: pytest.Config) -> None:
    """Names the mark."""
    config.addinivalue_line("markers", "wardian(**options): options of the sandbox of the fixture `wardian`")
