"""How often an address has shown a wrong token lately. The right token is accepted whatever is counted here."""

import ipaddress
import threading
import time
from collections import OrderedDict, deque

MOST = 10
"""Wrong ones that an address has in a window."""
WINDOW = 60.0
"""Seconds."""
ADDRESSES = 1000
"""That are remembered; who tries from more of them than that has each of them once."""


class Attempts:
    """The wrong tokens of the last minute, by address."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, address: str) -> float:
        """The seconds that ADDRESS has to wait before it may try again; 0 when it may now."""
        with self._lock:
            times = self._wrong.get(_place(address))
            if not times or len(times) < MOST:
                return 0.0
            return max(0.0, times[0] + WINDOW - time.monotonic())

    def note(self, address: str) -> None:
        """ADDRESS has shown a wrong token."""
        place = _place(address)
        with self._lock:
            self._wrong.setdefault(place, deque(maxlen=MOST)).append(time.monotonic())
            self._wrong.move_to_end(place)
            if len(self._wrong) > ADDRESSES:
                self._wrong.popitem(last=False)


def _place(address: str) -> str:
    """What counts as one address: of IPv6, where one machine has many, the network."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address) or ip.is_loopback:
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
