"""Which addresses, ports and names a delivery may connect to, by the role of its subscription's owner.

    WebhookdError
    └── EgressRefused      a rule forbids the call; nothing was sent

``user``: everything inside is shut unless the operator opened its network. ``admin``: private networks and
loopback are open, ports and names are not judged (metadata services excepted).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final, Literal, Protocol

from wazo_webhookd.domain.endpoint import Authority
from wazo_webhookd.egress.addresses import LOOPBACK, PRIVATE, Address, Network, Policy, judge, spans
from wazo_webhookd.exceptions import WebhookdError

Role = Literal['user', 'admin']
Verdict = Literal['REJECT_URL', 'BLOCK_ADDR', 'BLOCK_CONNECT']

SHUT_PORTS: Final = frozenset({
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530,
    531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 2375, 2376, 2379,
    2380, 3306, 3659, 4045, 4190, 4369, 4573, 5038, 5060, 5061, 5432, 5671, 5672, 6000, 6379, 6566, 6665, 6666,
    6667, 6668, 6669, 6679, 6697, 9200, 10080, 10250, 11211, 15672, 25672, 27017,
})  # fmt: skip
"""Mail, name, telephony, database, broker and remote-control services: none of them expects a webhook."""

METADATA_NAMES: Final = frozenset({'instance-data', 'metadata.goog', 'metadata.google.internal'})
SHUT_NAMES: Final = METADATA_NAMES | {
    'broadcasthost',
    'gateway.docker.internal',
    'host.docker.internal',
    'ip6-localhost',
    'ip6-loopback',
    'kubernetes.docker.internal',
    'localhost',
}
SHUT_SUFFIXES: Final = (
    '.localhost', '.local', '.localdomain', '.internal', '.intranet', '.lan', '.home.arpa', '.svc',
    '.cluster.local', '.onion', '.arpa', '.test', '.invalid',
)  # fmt: skip

FORBIDDEN_HEADERS: Final = frozenset({
    'connection', 'content-length', 'expect', 'host', 'http2-settings', 'keep-alive', 'metadata', 'metadata-flavor',
    'te', 'trailer', 'transfer-encoding', 'upgrade', 'via', 'x-forwarded-for', 'x-google-metadata-request',
})  # fmt: skip
FORBIDDEN_HEADER_STARTS: Final = ('proxy-', 'sec-', 'webhook-', 'x-aws-ec2-metadata', 'x-metadata-')

_CACHED_ADDRESSES = 4096


class RolePolicy(Protocol):
    """Part ``egress.user`` or ``egress.admin`` of the configuration."""

    @property
    def allow(self) -> Iterable[str | Network]: ...

    @property
    def deny(self) -> Iterable[str | Network]: ...


class GuardSettings(Protocol):
    """What the guard asks of part ``egress`` of the configuration."""

    @property
    def user(self) -> RolePolicy: ...

    @property
    def admin(self) -> RolePolicy: ...


class EgressRefused(WebhookdError):
    """The call is refused.

    ``rule`` names what refused it and ``verdict`` at which point; ``public`` is a sentence without
    addresses, which is all that a user is told; ``private`` is one for administrators.
    """

    def __init__(self, rule: str, verdict: Verdict, public: str, private: str, role: Role) -> None:
        self.rule = rule
        self.verdict = verdict
        self.public = public
        self.private = private
        self.detail = {'error': f'refused ({rule}): {public if role == "user" else private}', 'rule': rule}
        super().__init__(self.detail['error'])


class Guard:
    """Judges what was read and looked up; connects to nothing. Raises ValueError for a network that is none."""

    def __init__(self, settings: GuardSettings) -> None:
        self._policies: dict[Role, Policy] = {
            'user': Policy(spans(settings.user.allow), spans(settings.user.deny)),
            'admin': Policy(
                spans(settings.admin.allow),
                spans(settings.admin.deny),
                opened=spans((*PRIVATE, *LOOPBACK)),
                exempt=spans(LOOPBACK),
            ),
        }
        self._judged: dict[tuple[Role, Address], str | None] = {}

    def judge_authority(self, authority: Authority, role: Role) -> None:
        """Judge port, name and written address, before any look-up. Raises EgressRefused."""
        if authority.address is not None:
            self.judge_port(authority.port, role)
            self.judge_addresses([authority.address], role)
            return
        self.judge_name(authority.host, role)
        self.judge_port(authority.port, role)

    def judge_port(self, port: int, role: Role) -> None:
        if role == 'user' and port in SHUT_PORTS:
            sentence = f'port {port} belongs to a service that takes no webhooks'
            raise EgressRefused('port', 'REJECT_URL', sentence, sentence, role)

    def judge_name(self, name: str, role: Role) -> None:
        if role == 'admin':
            refused = name in METADATA_NAMES
        else:
            refused = '.' not in name or name in SHUT_NAMES or name.endswith(SHUT_SUFFIXES)
        if refused:
            sentence = 'the name is an internal one'
            raise EgressRefused('name', 'REJECT_URL', sentence, f'{sentence}: {name}', role)

    def judge_addresses(self, addresses: Sequence[Address], role: Role) -> None:
        """One shut address spoils the whole answer. Raises EgressRefused."""
        for address in addresses:
            reason = self.shut(address, role)
            if reason is not None:
                public = f'the address belongs to a range that is shut ({reason})'
                raise EgressRefused(f'address: {reason}', 'BLOCK_ADDR', public, f'{public}: {address}', role)

    def judge_peer(self, peer: Address, judged: Address, role: Role) -> None:
        """The socket must lead where we judged. Raises EgressRefused."""
        if plain(peer) != plain(judged):
            public = 'connected to another address than the one judged'
            raise EgressRefused('peer', 'BLOCK_CONNECT', public, f'{public}: {peer} instead of {judged}', role)

    def shut(self, address: Address, role: Role) -> str | None:
        """None when the role may connect to the address, else the class of address that is shut."""
        key = role, address
        try:
            return self._judged[key]
        except KeyError:
            if len(self._judged) >= _CACHED_ADDRESSES:
                self._judged.clear()
            reason = self._judged[key] = judge(address, self._policies[role])
            return reason


def plain(address: Address) -> Address:
    """The IPv4 address in a mapped one, else the address itself."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def judge_header(name: str) -> None:
    """May somebody choose this request header? Raises EgressRefused for those that steer requests or prove a sender."""
    lower = name.strip().lower()
    if lower in FORBIDDEN_HEADERS or lower.startswith(FORBIDDEN_HEADER_STARTS):
        sentence = f'the header {lower} cannot be chosen'
        raise EgressRefused('header', 'REJECT_URL', sentence, sentence, 'user')
