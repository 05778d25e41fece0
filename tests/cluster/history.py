"""One eventful run of a cluster from a seed, for comparing runs: `python history.py SEED`.

Prints a digest of everything that happened. `--keep FILE` also writes it, to look for the first
difference.
"""

import argparse
import hashlib
import sys
from pathlib import Path

import trio
from loguru import logger

from actors.testing import run_virtual
from cluster.client import Consistency
from tests.cluster.memory_cluster import LEVELS, generator, memory_cluster

OPERATIONS = 120


async def workload(cluster, name, seed):
    """Random operations of one client; outcomes are noted."""
    rng = generator(seed, name)
    async with cluster.client(host=name, timeout=0.5) as cache:
        for number in range(OPERATIONS):
            key, level = f"key-{rng.randrange(12)}", rng.choice(LEVELS)
            match rng.randrange(5):
                case 0 | 1:
                    await cluster.note(
                        name, cache, "set", key, f"{name}/{number}", consistency=level
                    )
                case 2:
                    await cluster.note(name, cache, "get_entry", key, consistency=level)
                case 3:
                    await cluster.note(name, cache, "delete", key, consistency=level)
                case _:
                    keys = [f"key-{rng.randrange(12)}" for _ in range(5)]
                    await cluster.note(name, cache, "get_many", keys, consistency=Consistency.ONE)
            await trio.sleep(rng.random() * 0.05)


async def trouble(cluster, seed):
    """Loss, a partition, a crash of an actor, a kill and a new life."""
    rng = generator(seed, "trouble")
    network, hosts = cluster.network, cluster.names
    await trio.sleep(rng.random())
    network.drop(hosts, hosts, 0.05)
    await trio.sleep(rng.random())
    for fault in network.partition("n1", ["n2", "n3"]):
        await trio.sleep(0.3)
        fault.stop()
    cluster["n2"].crash("peers")
    await trio.sleep(rng.random())
    cluster.kill("n3")
    await trio.sleep(rng.random())
    await cluster.start("n3", host="n3-again", seeds=("n1",), bootstrap_expect=3)


async def run(seed):
    async with memory_cluster(3, seed=seed) as cluster:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trouble, cluster, seed)
            for name in ("alice", "bob"):
                nursery.start_soon(workload, cluster, name, seed)
        await trio.sleep(5)
        assert len(cluster.results) == 2 * OPERATIONS
        return cluster.trace()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("seed", type=int)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    logger.remove()
    trace = run_virtual(run, arguments.seed, seed=arguments.seed)
    if arguments.keep:
        arguments.keep.write_bytes(trace)
    sys.stdout.write(f"{hashlib.blake2b(trace).hexdigest()} {len(trace)}\n")


if __name__ == "__main__":
    main()
