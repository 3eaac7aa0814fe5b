import pytest

from hermes_oscron.web import rate_limit
from hermes_oscron.web.rate_limit import RateLimiter


def test_another_attempt_is_allowed_a_minute_after_the_first_of_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(rate_limit.time, "monotonic", lambda: now)
    known = RateLimiter()
    for _ in range(10):
        assert known.retry_after("192.0.2.1") == 0
        known.record_failure("192.0.2.1")
        now += 1
    assert known.retry_after("192.0.2.1") == 50
    now += 50.1
    assert known.retry_after("192.0.2.1") == 0
    known.record_failure("192.0.2.1")
    assert 0 < known.retry_after("192.0.2.1") <= 1


def test_any_number_of_addresses_takes_limited_memory() -> None:
    known, wrong = RateLimiter(), ["192.0.2.1"] * rate_limit.MAX_FAILURES
    for address in wrong:
        known.record_failure(address)
    others = [f"10.{n // 65536}.{n // 256 % 256}.{n % 256}" for n in range(rate_limit.MAX_ADDRESSES)]
    for address in others[1:]:
        known.record_failure(address)
    assert known.retry_after("192.0.2.1") > 0
    known.record_failure(others[0])
    assert known.retry_after("192.0.2.1") == 0, "it is forgotten, as one more than are kept"


def test_the_addresses_of_one_ipv6_network_are_counted_together() -> None:
    known = RateLimiter()
    for n in range(10):
        known.record_failure(f"2001:db8::{n}")
    assert known.retry_after("2001:db8::ffff") > 0
    assert known.retry_after("2001:db8:0:1::1") == known.retry_after("uid:1000") == 0


def test_ipv4_addresses_on_an_ipv6_socket_are_counted_separately() -> None:
    known = RateLimiter()
    for _ in range(10):
        known.record_failure("::ffff:192.0.2.1")
    assert known.retry_after("::ffff:192.0.2.1") > 0 and known.retry_after("192.0.2.1") > 0
    assert known.retry_after("::ffff:192.0.2.2") == known.retry_after("::1") == 0
