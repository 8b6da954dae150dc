"""Slows down who guesses tokens."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

#: Wrong tokens that cost nothing; after each further one the address waits twice as long, at most an hour.
_FREE = 20
_LONGEST_S = 3600.0
#: Addresses that are remembered, those of the newest guesses.
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class _Guesses:
    wrong: int
    until: float


class Brake:
    """Counts wrong tokens by address; those of one network of IPv6 count together, since each has very many."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guesses: OrderedDict[str, _Guesses] = OrderedDict()

    def wait_s(self, address: str) -> int:
        """Whole seconds until the address may try again, 0 where it may now."""
        found = self._guesses.get(_network(address))
        return max(0, math.ceil(found.until - self._clock())) if found else 0

    def wrong(self, address: str) -> None:
        """Note a wrong token."""
        network = _network(address)
        before = self._guesses.pop(network, None)
        count = before.wrong + 1 if before else 1
        wait_s = min(_LONGEST_S, 2.0 ** (count - _FREE)) if count > _FREE else 0.0
        self._guesses[network] = _Guesses(count, self._clock() + wait_s)
        while len(self._guesses) > _MOST:
            self._guesses.popitem(last=False)

    def right(self, address: str) -> None:
        """Forget the wrong tokens of an address that knew the right one."""
        self._guesses.pop(_network(address), None)


def _network(address: str) -> str:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
