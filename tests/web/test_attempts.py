import pytest

from hermes_oscron.web import attempts
from hermes_oscron.web.attempts import Attempts


def test_a_minute_after_the_first_of_ten_one_may_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(attempts.time, "monotonic", lambda: now)
    known = Attempts()
    for _ in range(10):
        assert known.wait("192.0.2.1") == 0
        known.note("192.0.2.1")
        now += 1
    assert known.wait("192.0.2.1") == 50
    now += 50.1
    assert known.wait("192.0.2.1") == 0
    known.note("192.0.2.1")
    assert 0 < known.wait("192.0.2.1") <= 1


def test_addresses_without_end_take_no_memory_without_end() -> None:
    known, wrong = Attempts(), ["192.0.2.1"] * attempts.MOST
    for address in wrong:
        known.note(address)
    others = [f"10.{n // 65536}.{n // 256 % 256}.{n % 256}" for n in range(attempts.ADDRESSES)]
    for address in others[1:]:
        known.note(address)
    assert known.wait("192.0.2.1") > 0
    known.note(others[0])
    assert known.wait("192.0.2.1") == 0, "it is forgotten, as one more than are kept"


def test_the_addresses_of_one_ipv6_network_are_one() -> None:
    known = Attempts()
    for n in range(10):
        known.note(f"2001:db8::{n}")
    assert known.wait("2001:db8::ffff") > 0
    assert known.wait("2001:db8:0:1::1") == known.wait("uid:1000") == 0


def test_ipv4_addresses_are_apart_on_an_ipv6_socket_too() -> None:
    known = Attempts()
    for _ in range(10):
        known.note("::ffff:192.0.2.1")
    assert known.wait("::ffff:192.0.2.1") > 0 and known.wait("192.0.2.1") > 0
    assert known.wait("::ffff:192.0.2.2") == known.wait("::1") == 0
