from hypothesis import given
from hypothesis import strategies as st

from payouts.messaging.acknowledgements import Acknowledgement, Acknowledgements


def test_a_run_from_the_bottom_takes_one_frame() -> None:
    """Ten finished deliveries cost one acknowledgement."""
    gathered = Acknowledgements(held=100)
    for tag in (3, 1, 2, 5):
        gathered.done(tag)
    assert gathered.take() == [Acknowledgement(3, multiple=True)]
    assert gathered.take() == []
    gathered.done(4)
    assert gathered.take() == [Acknowledgement(5, multiple=True)]


def test_a_single_delivery_is_acknowledged_alone() -> None:
    """A run of one does not claim those below it."""
    gathered = Acknowledgements(held=100)
    gathered.done(1)
    assert gathered.take() == [Acknowledgement(1, multiple=False)]


def test_a_delivery_given_back_does_not_stop_the_run() -> None:
    """RabbitMQ knows no more of its tag; the run passes over it and never ends on it."""
    gathered = Acknowledgements(held=100)
    for tag in (1, 2, 4):
        gathered.done(tag)
    gathered.settled(3)
    gathered.settled(5)
    assert gathered.take() == [Acknowledgement(4, multiple=True)]
    gathered.done(6)
    assert gathered.take() == [Acknowledgement(6, multiple=False)]


def test_few_wait_behind_a_gap_and_many_do_not() -> None:
    """A stuck delivery holds back no more than its share of the prefetch."""
    gathered = Acknowledgements(held=2)
    gathered.done(2)
    gathered.done(3)
    assert gathered.take() == []
    gathered.done(5)
    assert gathered.take() == [Acknowledgement(tag, multiple=False) for tag in (2, 3, 5)]
    gathered.done(1)
    gathered.done(4)
    assert gathered.take() == [Acknowledgement(4, multiple=True)]


@given(
    order=st.permutations(list(range(1, 31))),
    given_back=st.sets(st.integers(1, 30)),
    held=st.integers(0, 10),
    pauses=st.sets(st.integers(0, 29)),
)
def test_each_finished_delivery_is_acknowledged_exactly_once_and_nothing_else(
    order: list[int], given_back: set[int], held: int, pauses: set[int]
) -> None:
    """In whatever order handlers end, RabbitMQ's view comes out right.

    Proved by letting a run end on a tag that was given back: RabbitMQ would close the channel.
    """
    gathered = Acknowledgements(held=held)
    open_tags = set(range(1, 31))
    finished: set[int] = set()
    acknowledged: set[int] = set()
    for step, tag in enumerate(order):
        if tag in given_back:
            gathered.settled(tag)
            open_tags.discard(tag)
        else:
            gathered.done(tag)
            finished.add(tag)
        if step in pauses or step == 29:
            for one in gathered.take():
                assert one.tag in open_tags
                told = {t for t in open_tags if t <= one.tag} if one.multiple else {one.tag}
                assert told <= finished
                acknowledged |= told
                open_tags -= told
    assert acknowledged == finished == set(range(1, 31)) - given_back
