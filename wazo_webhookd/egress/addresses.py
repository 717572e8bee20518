"""Which class of address a spelling stands for, by tables of our own.

``ipaddress.is_global`` answers another question and answers it differently from one Python to the next, so
the ranges stand here. An IPv6 address that carries an IPv4 address (mapped, translated, NAT64, 6to4,
Teredo, ISATAP) is judged by what it carries as well: no spelling of a shut address is open.

Sources: the IANA special-purpose registries; RFC 4291 (mapped), 6052 and 8215 (NAT64), 3056 (6to4),
4380 (Teredo), 5214 (ISATAP), 7915 (translated).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Span = tuple[int, int, str]
"""First and last number of a range, and the name of its class."""

SHUT_V4: Final = {
    '0.0.0.0/8': 'unspecified',
    '10.0.0.0/8': 'private',
    '100.64.0.0/10': 'private',
    '127.0.0.0/8': 'loopback',
    '168.63.129.16/32': 'metadata',
    '169.254.0.0/16': 'link-local',
    '172.16.0.0/12': 'private',
    '192.0.0.0/24': 'reserved',
    '192.0.2.0/24': 'documentation',
    '192.88.99.0/24': 'reserved',
    '192.168.0.0/16': 'private',
    '198.18.0.0/15': 'benchmarking',
    '198.51.100.0/24': 'documentation',
    '203.0.113.0/24': 'documentation',
    '224.0.0.0/4': 'multicast',
    '240.0.0.0/4': 'reserved',
}
"""Shut unless the operator opens them; all other IPv4 addresses are open."""

OPEN_V6: Final = '2000::/3'
"""Every IPv6 address outside is shut unless the operator opens it."""

SHUT_V6: Final = {
    '2001::/23': 'reserved',
    '2001:db8::/32': 'documentation',
    '2002::/16': 'tunnel',
    '3fff::/20': 'documentation',
}

NAMED_V6: Final = {
    '::1/128': 'loopback',
    '::/128': 'unspecified',
    '64:ff9b::/96': 'translated',
    '64:ff9b:1::/48': 'translated',
    'fc00::/7': 'private',
    'fe80::/10': 'link-local',
    'fec0::/10': 'private',
    'ff00::/8': 'multicast',
}
"""What addresses outside OPEN_V6 are called when they are refused."""

NEVER: Final = {
    '0.0.0.0/8': 'unspecified',
    '127.0.0.0/8': 'loopback',
    '169.254.0.0/16': 'link-local',
    '224.0.0.0/4': 'multicast',
    '240.0.0.0/4': 'reserved',
    '168.63.129.16/32': 'metadata',
    '100.100.100.200/32': 'metadata',
    '192.0.0.192/32': 'metadata',
    '::/128': 'unspecified',
    '::1/128': 'loopback',
    'fe80::/10': 'link-local',
    'ff00::/8': 'multicast',
    'fd00:ec2::254/128': 'metadata',
    'fd20:ce::254/128': 'metadata',
}
"""Nobody can open these, loopback excepted for administrators."""

LOOPBACK: Final = ('127.0.0.0/8', '::1/128')
PRIVATE: Final = ('10.0.0.0/8', '100.64.0.0/10', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7')

DENIED_BY_OPERATOR: Final = 'denied by configuration'


@dataclass(frozen=True, slots=True)
class Spans:
    """Ranges of both versions, for questions of membership."""

    v4: tuple[Span, ...] = ()
    v6: tuple[Span, ...] = ()

    def find(self, version: int, number: int) -> str | None:
        """The class of the first range that holds the address."""
        for first, last, name in self.v4 if version == 4 else self.v6:
            if first <= number <= last:
                return name
        return None


def spans(networks: dict[str, str] | Iterable[str | Network], name: str = '') -> Spans:
    """Ranges of networks; IPv4 networks written as mapped IPv6 ones become IPv4. Raises ValueError."""
    named = networks.items() if isinstance(networks, dict) else [(network, name) for network in networks]
    v4: list[Span] = []
    v6: list[Span] = []
    for text, label in named:
        network = ipaddress.ip_network(text, strict=False)
        first, last = int(network.network_address), int(network.broadcast_address)
        if network.version == 6 and first >> 32 == 0xFFFF and last >> 32 == 0xFFFF:
            v4.append((first & 0xFFFFFFFF, last & 0xFFFFFFFF, label))
        else:
            (v4 if network.version == 4 else v6).append((first, last, label))
    return Spans(tuple(v4), tuple(v6))


_SHUT = spans(SHUT_V4 | SHUT_V6)
_NAMED = spans(NAMED_V6)
_OPEN = spans([OPEN_V6], 'global')
_NEVER = spans(NEVER)


@dataclass(frozen=True, slots=True)
class Policy:
    """What one role may reach: ``deny`` wins over ``allow``, which wins over the tables.

    ``opened`` is open by default; ``exempt`` are ranges of NEVER that are not shut for this role.
    """

    allow: Spans = Spans()
    deny: Spans = Spans()
    opened: Spans = Spans()
    exempt: Spans = Spans()


def judge(address: Address, policy: Policy) -> str | None:
    """None when the role may connect to the address, else the class of address that is shut."""
    for version, number in spellings(address):
        reason = _judge_one(version, number, policy)
        if reason is not None:
            return reason
    return None


def _judge_one(version: int, number: int, policy: Policy) -> str | None:
    never = _NEVER.find(version, number)
    if never is not None and policy.exempt.find(version, number) is None:
        return never
    if policy.deny.find(version, number) is not None:
        return DENIED_BY_OPERATOR
    if policy.allow.find(version, number) is not None or policy.opened.find(version, number) is not None:
        return None
    shut = _SHUT.find(version, number)
    if shut is None and version == 6 and _OPEN.find(6, number) is None:
        return _NAMED.find(6, number) or 'reserved'
    return shut


def spellings(address: Address) -> list[tuple[int, int]]:
    """The (version, number) pairs that have to be open for the address to be open."""
    number = int(address)
    if address.version == 4:
        return [(4, number)]
    low = number & 0xFFFFFFFF
    if number >> 32 == 0xFFFF:  # mapped: a connection to it is an IPv4 connection
        return [(4, low)]
    found = [(6, number)]
    carries_low = (
        (number >> 32 == 0 and number > 1)  # IPv4-compatible
        or number >> 32 in (0xFFFF0000, 0x64FF9B << 64)  # translated; NAT64
        or number >> 80 == 0x64FF9B0001  # NAT64 for local use
        or number >> 32 & 0xFDFFFFFF == 0x5EFE  # ISATAP
    )
    if carries_low:
        found.append((4, low))
    elif number >> 112 == 0x2002:  # 6to4
        found.append((4, number >> 80 & 0xFFFFFFFF))
    elif number >> 96 == 0x20010000:  # Teredo: its server, and the client's address turned round
        found += [(4, number >> 64 & 0xFFFFFFFF), (4, low ^ 0xFFFFFFFF)]
    return found
