"""The SDK: programs connect to any nodes of a cluster and get, set and delete values.

    async with connect("127.0.0.1:7946") as cache:
        await cache.set("user:1", {"name": "Ada"}, ttl=60)
        user = await cache.get("user:1")

The rules (which node to ask, what to repeat, when to give up) are a pure core without I/O; a driver
runs it on trio. The client shares messages and the ring with the nodes, and none of their services.
"""

from cluster.client._cache import Cache
from cluster.client._connect import connect
from cluster.client.entry import Consistency, Entry, Stamp

__all__ = ["Cache", "Consistency", "Entry", "Stamp", "connect"]
