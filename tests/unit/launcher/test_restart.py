import pytest

from ironic_lite.launcher.restart import Backoff, share_s


def test_the_first_death_brings_a_child_back_at_once() -> None:
    assert Backoff().delay_s(1000.0, was_ready=True) == 0.0


def test_a_child_that_does_not_get_ready_again_waits_twice_as_long_each_time() -> None:
    backoff = Backoff()
    delays = [backoff.delay_s(1000.0 + second, was_ready=second == 0) for second in range(10)]
    assert delays == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_getting_ready_begins_the_delays_anew_but_never_spins() -> None:
    backoff = Backoff()
    for second in range(5):
        backoff.delay_s(1000.0 + second, was_ready=False)
    assert [backoff.delay_s(1010.0 + second, was_ready=True) for second in range(3)] == [0.5, 0.5, 0.5]


def test_a_minute_of_life_is_forgiven() -> None:
    backoff = Backoff()
    backoff.delay_s(1000.0, was_ready=True)
    assert backoff.delay_s(1030.0, was_ready=True) == 0.5
    assert backoff.delay_s(1091.0, was_ready=True) == 0.0


@pytest.mark.parametrize(("left_s", "waiting", "share"), [(60.0, 2, 30.0), (30.0, 1, 30.0), (0.0, 3, 0.0)])
def test_each_child_gets_an_equal_share_of_what_is_left(left_s: float, waiting: int, share: float) -> None:
    assert share_s(left_s, waiting) == share
