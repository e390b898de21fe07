"""How long a BMC leaves an idle connection alone is learnt from what it does, and forgotten after a day."""

from __future__ import annotations

from ironic_lite.drivers.redfish.exchange import RELEARN_S, Patience


def test_one_closed_connection_says_nothing():
    patience = Patience()
    patience.closed(60, 0)
    assert patience.allows(600, 1)


def test_two_in_a_row_say_how_long_is_too_long():
    patience = Patience()
    patience.closed(60, 0)
    patience.closed(50, 60)
    assert not patience.allows(60, 61)
    assert not patience.allows(55, 61)
    assert patience.allows(50, 61)


def test_a_longer_pause_survived_between_them_forgives_the_first():
    patience = Patience()
    patience.closed(5, 0)
    patience.survived(60)
    patience.closed(5, 100)
    assert patience.allows(60, 101)


def test_a_shorter_pause_survived_does_not():
    patience = Patience()
    patience.closed(60, 0)
    patience.survived(1)
    patience.closed(60, 100)
    assert not patience.allows(60, 101)


def test_it_is_tried_again_after_a_day():
    patience = Patience()
    patience.closed(60, 0)
    patience.closed(60, 60)
    assert not patience.allows(60, RELEARN_S)
    assert patience.allows(60, RELEARN_S + 61)
