"""Fixtures of the tests that need real node processes."""

import pytest

from cluster.launch import launch_cluster


@pytest.fixture
async def local_cluster(tmp_path):
    """Three node processes, ready; their output is in the test's directory."""
    async with launch_cluster(3, log_dir=tmp_path / "nodes") as cluster:
        yield cluster
