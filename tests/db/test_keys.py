"""A key is made once, whoever asks first."""

from __future__ import annotations

import threading

from ironic_lite.db import keys
from ironic_lite.db.engine import Database


def test_all_who_ask_at_the_same_time_get_the_same_key(database: Database):
    assert keys.find(database, "events") is None
    found: list[str] = []
    together = threading.Barrier(4)

    def ask() -> None:
        together.wait(10)
        found.append(keys.find_or_make(database, "events"))

    threads = [threading.Thread(target=ask) for _ in range(4)]  # noqa: TID251  # several processes, as the table sees it
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [keys.find(database, "events")] * 4
    assert keys.find_or_make(database, "other") not in found
