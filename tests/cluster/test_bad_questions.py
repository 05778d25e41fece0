"""Questions that make no sense are refused; the node that is asked goes on."""

import pytest

from actors.testing import virtual
from cluster.errors import InvalidKey, InvalidValue
from tests.cluster.memory_cluster import memory_cluster

BAD = [
    ("keys", {"cursor": "zzz"}),
    ("keys", {"cursor": "99999:00"}),
    ("keys", {"cursor": "-1:"}),
    ("keys", {"limit": 0}),
    ("keys", {"limit": -1}),
    ("keys", {"limit": 1 << 40}),
    ("keys", {"limit": "many"}),
    ("record", {}),
    ("record", {"key": ""}),
    ("record", {"key": "k" * 2000}),
    ("ring", {"key": ""}),
    ("trace", {"chain": "zz"}),
    ("trace", {}),
    ("status", {"unasked": 1}),
    ("nonsense", {}),
]


@virtual()
@pytest.mark.parametrize(("topic", "arguments"), BAD)
async def test_a_bad_question_is_refused_and_changes_nothing(topic, arguments):
    async with memory_cluster(1) as cluster, cluster.client() as cache:
        await cache.set("k", "v")
        with pytest.raises((InvalidValue, InvalidKey)):
            await cache.control(topic, **arguments)
        assert await cache.get("k") == "v"
        status = await cache.control("status")
        assert status["records"] == 1, "the same life of the node still answers"
