"""The sign of life of the agent's own scheduler."""

import os
import time

from hermes_oscron.hermes import ticker
from hermes_oscron.hermes.homes import Home


def write(home: Home, text: str) -> None:
    os.makedirs(home.cron_dir, exist_ok=True)
    with open(f"{home.cron_dir}/ticker_heartbeat", "w", encoding="ascii") as file:
        file.write(text)


def test_it_lives_while_it_has_ticked_of_late(home: Home) -> None:
    assert not ticker.is_alive(home)
    for age, alive in ((0, True), (100, True), (300, False), (-60, False)):
        write(home, str(time.time() - age))
        assert ticker.is_alive(home) == alive
    for text in ("", "soon"):
        write(home, text)
        assert not ticker.is_alive(home)


def test_what_is_forgotten_lives_again_with_its_next_tick(home: Home) -> None:
    ticker.forget(home)
    write(home, str(time.time()))
    ticker.forget(home)
    assert not ticker.is_alive(home)
