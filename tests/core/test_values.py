import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.core.values import (
    KEY_BYTES_MAX,
    NODE_ID_CHARS_MAX,
    VIRTUAL_NODES_MAX,
    WALL_MS_MAX,
    InvalidKeyError,
    InvalidNodeIdError,
    Level,
    check_key,
    check_node_id,
    new_boot_id,
    partition_of,
    partition_shift,
    quorum,
)


@pytest.mark.parametrize("key", [b"k", bytes(KEY_BYTES_MAX), b"\xff\x00"])
def test_a_key_in_bounds_is_returned(key):
    assert check_key(key) is key


@pytest.mark.parametrize("key", [b"", bytes(KEY_BYTES_MAX + 1), "text", 7, None, bytearray(b"k")])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(InvalidKeyError):
        check_key(key)


@pytest.mark.parametrize("node_id", ["a", "node-1.zone_b:7101", "x" * NODE_ID_CHARS_MAX])
def test_a_node_id_in_bounds_is_returned(node_id):
    assert check_node_id(node_id) == node_id


@pytest.mark.parametrize("node_id", ["", "x" * (NODE_ID_CHARS_MAX + 1), "a b", "a\n", "ä", b"a", 1])
def test_what_is_no_node_id_is_refused(node_id):
    with pytest.raises(InvalidNodeIdError):
        check_node_id(node_id)


def test_a_boot_id_is_the_time_and_random_bits():
    boot = new_boot_id(1_700_000_000_000, random.Random(1))
    assert boot >> 16 == 1_700_000_000_000
    assert boot != new_boot_id(1_700_000_000_000, random.Random(2))


@given(st.integers(1, WALL_MS_MAX), st.integers(0, (WALL_MS_MAX << 16) - 1), st.integers())
def test_a_boot_id_is_above_the_one_before_and_fits_64_bits(wall_ms, above, seed):
    boot = new_boot_id(wall_ms, random.Random(seed), above)
    assert above < boot < 1 << 64


def test_no_boot_id_is_made_up_when_none_is_left():
    with pytest.raises(ValueError, match="no boot id"):
        new_boot_id(1, random.Random(1), (1 << 64) - 1)


@pytest.mark.parametrize("partitions", [1, 2, 256, 1024, VIRTUAL_NODES_MAX])
def test_the_partition_is_the_top_bits_of_the_hash(partitions):
    shift = partition_shift(partitions)
    found = {partition_of(b"key %d" % number, shift) for number in range(20 * min(partitions, 256))}
    assert found <= set(range(partitions))
    if partitions <= 256:
        assert len(found) == partitions


def test_the_hash_is_the_same_on_every_machine():
    assert partition_of(b"user:1", partition_shift(1024)) == 237
    assert partition_of(b"", partition_shift(1024)) == 0x2D06800538D394C2 >> 54  # published


@pytest.mark.parametrize("partitions", [0, -1, 3, 1000, 2 * VIRTUAL_NODES_MAX])
def test_partitions_are_a_power_of_two_within_the_limit(partitions):
    with pytest.raises(ValueError, match="power of two"):
        partition_shift(partitions)


def test_any_two_quorums_meet():
    assert [quorum(owners) for owners in (1, 2, 3, 4, 5)] == [1, 2, 2, 3, 3]


def test_levels_say_how_many_answers_they_need():
    assert [level.needed(3) for level in Level] == [1, 2, 3]
    assert [level.needed(1) for level in Level] == [1, 1, 1]
    assert [int(level) for level in Level] == [1, 2, 3]
