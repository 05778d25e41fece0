"""How many copies each member should hold: by weight, as far as copies and zones allow.

A member holds at most one copy of a partition, and a zone at most `zone_limit` of them. Members and
zones that are too heavy for that are filled to the brim, and the others share the rest by their
weights ("water-filling"). What comes out is a fractional placement that keeps every rule; it is
the reason why a whole one exists within the bounds around it.
"""

from collections.abc import Sequence

_BRIM = 1.0 + 1e-12  # rounding must not decide whether a share is full


def zone_limit(zones: Sequence[int], copies: int) -> int:
    """Say how many copies of one partition a zone has to take, if they are spread widely.

    Args:
        zones: The zone of each member, as an index.
        copies: Copies of one partition; at most the number of members.

    Returns:
        1 where there are as many zones as copies; more where there are fewer zones or where some
        have too few members.
    """
    sizes = _sizes(zones)
    limit = 1
    while sum(min(size, limit) for size in sizes) < copies:
        limit += 1
    return limit


def fair_shares(
    weights: Sequence[float], zones: Sequence[int], copies: int, limit: int
) -> list[float]:
    """Share out the copies of one partition.

    Args:
        weights: Per member; above 0.
        zones: Per member, as an index.
        copies: How many copies there are to share.
        limit: The most that one zone may hold, from `zone_limit`.

    Returns:
        Per member a share from 0 to 1; together they make `copies`.
    """
    sizes = _sizes(zones)
    members = [[m for m, z in enumerate(zones) if z == zone] for zone in range(len(sizes))]
    shares = [0.0] * len(weights)
    open_zones = list(range(len(sizes)))
    rest = float(copies)
    while open_zones:
        open_members = [m for zone in open_zones for m in members[zone]]
        filled = _fill([weights[m] for m in open_members], rest)
        for member, share in zip(open_members, filled, strict=True):
            shares[member] = share
        brims = {zone: min(sizes[zone], limit) for zone in open_zones}
        full = [z for z in open_zones if sum(shares[m] for m in members[z]) > brims[z] * _BRIM]
        for zone in full:
            inside = _fill([weights[m] for m in members[zone]], float(brims[zone]))
            for member, share in zip(members[zone], inside, strict=True):
                shares[member] = share
            rest -= brims[zone]
        if not full:
            break
        open_zones = [zone for zone in open_zones if zone not in full]
    return shares


def _fill(weights: Sequence[float], amount: float) -> list[float]:
    """Share an amount by weight, at most 1 to each; there is room for all of it."""
    shares = [0.0] * len(weights)
    open_ = list(range(len(weights)))
    while open_:
        total = sum(weights[i] for i in open_)
        full = [i for i in open_ if weights[i] * amount > total * _BRIM]
        if not full:
            for i in open_:
                shares[i] = weights[i] * amount / total
            break
        for i in full:
            shares[i] = 1.0
        amount -= len(full)
        open_ = [i for i in open_ if shares[i] == 0.0]
    return shares


def _sizes(zones: Sequence[int]) -> list[int]:
    return [zones.count(zone) for zone in range(max(zones) + 1)]
