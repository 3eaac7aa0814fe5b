"""Count the wrong tokens of each address. The right token is accepted regardless of this count."""

import ipaddress
import threading
import time
from collections import OrderedDict, deque

MAX_FAILURES = 10
"""An address may send this many wrong tokens in WINDOW_S."""
WINDOW_S = 60.0
MAX_ADDRESSES = 1000
"""The number of addresses that are counted; the oldest is dropped first."""


class RateLimiter:
    """The wrong tokens of the last minute, by address."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def retry_after(self, address: str) -> float:
        """Return the seconds that `address` must wait before its next try; 0 if it need not wait."""
        with self._lock:
            times = self._failures.get(_network_of(address))
            if not times or len(times) < MAX_FAILURES:
                return 0.0
            return max(0.0, times[0] + WINDOW_S - time.monotonic())

    def record_failure(self, address: str) -> None:
        """Count a wrong token from `address`."""
        place = _network_of(address)
        with self._lock:
            self._failures.setdefault(place, deque(maxlen=MAX_FAILURES)).append(time.monotonic())
            self._failures.move_to_end(place)
            if len(self._failures) > MAX_ADDRESSES:
                self._failures.popitem(last=False)


def _network_of(address: str) -> str:
    """Return what counts as one address: of IPv6, where one machine has many, the network."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address) or ip.is_loopback:
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
