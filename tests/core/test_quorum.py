"""Counting answers: acks per stamp, votes per boot, and what a complete read makes of them."""

from cluster.core import record as rec
from cluster.core.clock import stamp
from cluster.core.quorum import ReadRound, WriteRound

OWNERS = ("n1", "n2", "n3")
KEYS = [b"a", b"b", b"c"]


def value(ms, body=b"\x01v"):
    return rec.make(stamp(ms << 16, 1), body)


def writing(need=2, *, fixed=False, keys=3):
    return WriteRound(1, OWNERS, need, fixed, keys=KEYS[:keys], records=[value(5)] * keys)


def reading(need=2, *, own="n1", copies=(None, None, None)):
    held = list(copies) if own else []
    return ReadRound(1, OWNERS, need, 2, own, keys=list(KEYS), copies=held)


class TestWrites:
    def test_done_with_enough_acks_delivered_with_all(self):
        round_ = writing()
        assert round_.ack("n1", 10, []) == []
        assert not round_.done
        round_.ack("n2", 10, [])
        assert round_.done
        assert not round_.delivered
        round_.ack("n3", 10, [])
        assert round_.delivered

    def test_repeated_acks_of_one_owner_count_once(self):
        round_ = writing()
        for _ in range(5):
            round_.ack("n2", 10, [])
        assert not round_.done

    def test_what_an_owner_holds_higher_is_to_be_written_again_once(self):
        round_ = writing()
        assert round_.ack("n1", 10, [1]) == [1]
        assert round_.ack("n2", 10, [1, 2]) == [2], "key 1 is in a round of its own by now"
        assert round_.moved == {1, 2}

    def test_the_keys_that_were_not_held_higher_are_done_by_the_same_acks(self):
        round_ = writing()
        round_.ack("n1", 10, [1])
        round_.ack("n2", 10, [])
        assert round_.done

    def test_a_round_of_which_every_key_has_moved_is_done(self):
        round_ = writing(need=3)
        assert round_.ack("n1", 10, [0, 1, 2]) == [0, 1, 2]
        assert round_.done

    def test_once_done_it_is_never_restamped(self):
        round_ = writing()
        round_.ack("n1", 10, [])
        round_.ack("n2", 10, [])
        assert round_.ack("n3", 10, [0, 1, 2]) == []
        assert round_.moved == set()

    def test_fixed_records_are_as_good_as_acked_where_a_higher_one_is_held(self):
        round_ = writing(fixed=True)
        assert round_.ack("n1", 10, [0]) == []
        round_.ack("n2", 10, [])
        assert round_.done

    def test_an_ack_of_a_boot_that_is_gone_is_taken_back(self):
        round_ = writing()
        round_.ack("n2", 10, [])
        assert not round_.void("n2", 10), "no newer boot"
        assert not round_.void("n3", 11), "it has not acked"
        assert round_.void("n2", 11)
        round_.ack("n3", 10, [])
        assert not round_.done
        round_.ack("n2", 11, [])
        assert round_.done

    def test_what_is_done_stays_done(self):
        round_ = writing()
        round_.ack("n1", 10, [])
        round_.ack("n2", 10, [])
        assert not round_.void("n2", 11)
        assert round_.done

    def test_every_repetition_says_the_same(self):
        round_ = writing()
        first = round_.message()
        round_.ack("n1", 10, [1])
        assert round_.message() == first


class TestReads:
    def test_the_own_copy_is_the_first_answer(self):
        round_ = reading(need=1, copies=[value(1), None, None])
        assert round_.complete
        assert round_.resolve().records == [value(1), None, None]

    def test_without_own_copy_all_answers_come_from_others(self):
        round_ = reading(own=None)
        assert round_.versions() == []
        assert round_.answered == 0
        round_.answer("n2", 10, 3, [0, 1, 2], [value(1), None, None])
        assert not round_.complete
        round_.answer("n3", 10, 3, [0, 1, 2], [value(1), None, None])
        assert round_.complete
        outcome = round_.resolve()
        assert outcome.records == [value(1), None, None]
        assert (outcome.write_back, outcome.repair) == ({}, {})

    def test_equal_answers_cause_nothing(self):
        round_ = reading(copies=[value(1), None, rec.tombstone(stamp(2 << 16, 1))])
        assert len(round_.versions()) == 3
        assert round_.versions()[1] == b""
        assert round_.answer("n2", 10, 3, [], [])
        outcome = round_.resolve()
        assert outcome.records == round_.copies
        assert (outcome.write_back, outcome.repair) == ({}, {})

    def test_the_newest_wins_and_is_written_back_first(self):
        round_ = reading(copies=[value(1), value(9), None])
        round_.answer("n2", 10, 3, [0, 1, 2], [value(2), value(3), value(4)])
        outcome = round_.resolve()
        assert outcome.records == [value(2), value(9), value(4)]
        assert outcome.write_back == {("n2",): [0, 2], ("n1",): [1]}
        assert outcome.repair == {}

    def test_what_is_at_a_write_quorum_is_only_repaired(self):
        round_ = reading(need=3, copies=[value(9), value(9), value(1)])
        round_.answer("n2", 10, 3, [], [])
        round_.answer("n3", 10, 3, [0, 1, 2], [None, value(9), value(9)])
        outcome = round_.resolve()
        assert outcome.records == [value(9), value(9), value(9)]
        assert outcome.repair == {("n3",): [0]}
        assert outcome.write_back == {("n3",): [2]}

    def test_one_answer_is_never_written_back(self):
        round_ = reading(need=1, own=None)
        round_.answer("n2", 10, 3, [0, 1, 2], [value(1), None, None])
        assert round_.complete
        outcome = round_.resolve()
        assert (outcome.write_back, outcome.repair) == ({}, {})

    def test_a_tombstone_is_an_answer_like_any_other(self):
        dead = rec.tombstone(stamp(9 << 16, 1))
        round_ = reading(copies=[value(1), None, None])
        round_.answer("n2", 10, 3, [0], [dead])
        outcome = round_.resolve()
        assert outcome.records[0] == dead
        assert outcome.write_back == {("n2",): [0]}

    def test_an_answer_in_pieces_counts_once_it_is_whole(self):
        round_ = reading(own=None, need=1)
        assert not round_.answer("n2", 10, 1, [0], [value(1)])
        assert (round_.covered("n2"), round_.complete) == (1, False)
        message = round_.message(round_.covered("n2"), [])
        assert message.keys == KEYS[1:]
        assert not round_.answer("n2", 10, 1, [0], [value(2)])
        assert round_.answer("n2", 10, 1, [0], [None])
        assert round_.has_answered("n2")
        assert round_.resolve().records == [value(1), value(2), None]

    def test_pieces_of_two_boots_are_not_put_together(self):
        round_ = reading(own=None, need=1)
        round_.answer("n2", 10, 2, [0, 1], [value(1), value(2)])
        assert not round_.answer("n2", 11, 1, [0], [None])
        assert round_.covered("n2") == 1

    def test_a_vote_of_a_boot_that_is_gone_is_forgotten(self):
        round_ = reading(own=None)
        round_.answer("n2", 10, 3, [], [])
        assert not round_.void("n2", 10)
        assert not round_.void("n3", 11)
        assert round_.void("n2", 11)
        assert round_.answered == 0
        round_.answer("n3", 10, 3, [], [])
        assert not round_.complete

    def test_a_part_of_an_answer_is_no_vote(self):
        round_ = reading(copies=[None, None, None])
        round_.answer("n2", 10, 2, [0], [value(1)])
        assert round_.answered == 1
        assert round_.resolve().records == [None, None, None]
