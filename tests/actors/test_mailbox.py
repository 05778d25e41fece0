"""The two lanes, against a model; and what a cancel must not lose."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors import MailboxSpec
from actors._mailbox import Mailbox
from actors.testing import virtual


def envelope(n, weight=0):
    return (n, n, 0, 0, 0.0, None, weight)


STEPS = st.lists(st.sampled_from(["put", "control", "take", "newest", "wait"]), max_size=60)


@given(steps=STEPS, capacity=st.integers(1, 4))
def test_lanes_behave_as_two_queues(steps, capacity):
    async def run():
        box = Mailbox(MailboxSpec(capacity=capacity))
        user, control = [], []
        for n, step in enumerate(steps):
            item = envelope(n)
            if step == "put":
                assert box.put(item) == (len(user) < capacity)
                user += [item] if len(user) < capacity else []
            elif step == "control":
                box.put_control(item)
                control.append(item)
            elif step == "newest":
                dropped = [user.pop(0)] if len(user) == capacity else []
                assert box.put_newest(item) == dropped
                user.append(item)
            elif step == "wait":
                with trio.move_on_after(1):
                    await box.wait()
            else:
                expected = control.pop(0) if control else user.pop(0) if user else None
                assert box.take() is expected
            assert (box.length, box.control_length) == (len(user), len(control))
        assert box.close() == control + user

    virtual()(run)()


@virtual()
async def test_an_item_handed_over_in_the_instant_of_a_cancel_is_kept():
    box = Mailbox(MailboxSpec(capacity=2))
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def owner():
                await box.wait()
                await trio.sleep_forever()

            nursery.start_soon(owner)
            await trio.sleep(1)
            box.put(envelope(1))  # goes straight to the waiting task ...
            scope.cancel()  # ... which is cancelled before it runs
    assert box.take() == envelope(1)
    assert box.length == 0


@virtual()
async def test_control_puts_one_wake_token_and_takes_no_place():
    box = Mailbox(MailboxSpec(capacity=1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.wait)
        await trio.sleep(1)
        for n in range(5):
            box.put_control(envelope(n))
        assert box.put(envelope(9))
    assert [box.take()[0] for _ in range(6)] == [0, 1, 2, 3, 4, 9]
    assert box.take() is None


@virtual()
async def test_weights_are_given_back():
    box = Mailbox(MailboxSpec(capacity=9, weigh=len, weight_max=10))
    assert box.put(envelope(1, 7))
    assert not box.put(envelope(2, 7))
    assert box.put(envelope(3, 3))
    box.take()
    assert box.weight == 3
    assert box.put_newest(envelope(4, 100)) == [envelope(3, 3)]
    box.close()
    assert not box.put(envelope(5))
    with pytest.raises(trio.ClosedResourceError):
        box.put_control(envelope(6))
