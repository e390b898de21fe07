from ironic_lite.launcher.service import ChildSpec, Service
from ironic_lite.web.listeners import listen


def never() -> Service:
    raise AssertionError


def test_a_child_closes_the_listeners_that_are_not_its_own() -> None:
    mine, shared, other = (listen("127.0.0.1", 0) for _ in range(3))
    ChildSpec("api", never, (shared, other)).close_listeners(but=(mine, shared))
    assert other.fileno() < 0 <= shared.fileno()
    shared.close()
    mine.close()
