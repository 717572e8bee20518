from __future__ import annotations

import ipaddress
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.egress.fakes import settings
from wazo_webhookd.domain.endpoint import BadURL, parse
from wazo_webhookd.egress.addresses import NEVER, SHUT_V4, spans
from wazo_webhookd.egress.guard import EgressRefused, Guard, Role


def guard(role: Role = 'user', allow: Any = (), deny: Any = ()) -> Guard:
    return Guard(settings(**{role: SimpleNamespace(allow=allow, deny=deny)}))


def address(text: str) -> Any:
    return ipaddress.ip_address(text)


@pytest.mark.parametrize(
    ('text', 'user', 'admin'),
    [
        ('8.8.8.8', None, None),
        ('127.0.0.1', 'loopback', None),
        ('127.255.255.255', 'loopback', None),
        ('::1', 'loopback', None),
        ('::ffff:127.0.0.1', 'loopback', None),
        ('10.0.0.1', 'private', None),
        ('172.31.0.1', 'private', None),
        ('192.168.1.1', 'private', None),
        ('100.64.0.1', 'private', None),
        ('fd00::1', 'private', None),
        ('::ffff:10.0.0.1', 'private', None),
        ('0.0.0.0', 'unspecified', 'unspecified'),
        ('::', 'unspecified', 'unspecified'),
        ('169.254.169.254', 'link-local', 'link-local'),
        ('fe80::1', 'link-local', 'link-local'),
        ('100.100.100.200', 'metadata', 'metadata'),
        ('168.63.129.16', 'metadata', 'metadata'),
        ('fd00:ec2::254', 'metadata', 'metadata'),
        ('fd20:ce::254', 'metadata', 'metadata'),
        ('224.0.0.1', 'multicast', 'multicast'),
        ('ff02::1', 'multicast', 'multicast'),
        ('255.255.255.255', 'reserved', 'reserved'),
        ('192.0.2.1', 'documentation', 'documentation'),
        ('198.18.0.1', 'benchmarking', 'benchmarking'),
        ('64:ff9b::7f00:1', 'translated', 'translated'),
        ('2002:7f00:1::', 'tunnel', 'tunnel'),
        ('2001:0:4136:e378:8000:63bf:80ff:fffe', 'reserved', 'reserved'),
        ('2600::5efe:7f00:1', 'loopback', None),
        ('2600::200:5efe:a9fe:a9fe', 'link-local', 'link-local'),
        ('::7f00:1', 'reserved', 'reserved'),
        ('4000::1', 'reserved', 'reserved'),
        ('2606:2800:220:1::1', None, None),
    ],
)
def test_addresses_by_role(text: str, user: str | None, admin: str | None) -> None:
    assert guard().shut(address(text), 'user') == user
    assert guard().shut(address(text), 'admin') == admin


@pytest.mark.parametrize(
    ('allow', 'deny', 'text', 'shut'),
    [
        (['10.1.0.0/16'], [], '10.1.2.3', None),
        (['10.1.0.0/16'], [], '::ffff:10.1.2.3', None),
        (['10.1.0.0/16'], [], '10.2.0.1', 'private'),
        (['::ffff:10.1.0.0/112'], [], '10.1.2.3', None),
        (['10.0.0.0/8'], ['10.1.0.0/16'], '10.1.2.3', 'denied by configuration'),
        ([], ['8.8.8.0/24'], '8.8.8.8', 'denied by configuration'),
        ([], ['::ffff:8.8.8.0/120'], '8.8.8.8', 'denied by configuration'),
        (['0.0.0.0/0', '::/0'], [], '127.0.0.1', 'loopback'),
        (['0.0.0.0/0', '::/0'], [], '169.254.169.254', 'link-local'),
        (['0.0.0.0/0', '::/0'], [], '100.100.100.200', 'metadata'),
        (['0.0.0.0/0', '::/0'], [], '192.168.1.1', None),
        (['0.0.0.0/0', '::/0'], [], 'fd00::1', None),
        (['::/0'], [], '64:ff9b::808:808', None),
        (['::/0'], [], '64:ff9b::7f00:1', 'loopback'),
        (['::/0'], [], '64:ff9b::a00:1', 'private'),
        (['::/0'], [], '64:ff9b:1::a9fe:a9fe', 'link-local'),
        (['::/0'], [], '2002:a9fe:a9fe::1', 'link-local'),
        (['::/0'], [], '2001:0:4136:e378:8000:63bf:5601:5601', 'link-local'),
        (['::/0'], [], '::ffff:0:127.0.0.1', 'loopback'),
        (['::/0'], [], '::127.0.0.1', 'loopback'),
    ],
)
def test_what_the_operator_opens_and_shuts_for_users(allow: Any, deny: Any, text: str, shut: str | None) -> None:
    assert guard('user', allow, deny).shut(address(text), 'user') == shut


def test_administrators_are_tightened_by_configuration() -> None:
    tight = guard('admin', deny=['127.0.0.0/8', '10.0.0.0/8'], allow=['192.0.2.0/24'])

    assert tight.shut(address('127.0.0.1'), 'admin') == 'denied by configuration'
    assert tight.shut(address('::ffff:10.0.0.1'), 'admin') == 'denied by configuration'
    assert tight.shut(address('192.0.2.1'), 'admin') is None
    assert tight.shut(address('10.0.0.1'), 'user') == 'private'


@pytest.mark.parametrize(
    ('url', 'user', 'admin'),
    [
        ('http://hooks.example.com/', None, None),
        ('http://hooks.example.com:25/', 'port', None),
        ('http://8.8.8.8:5060/', 'port', None),
        ('http://rabbitmq:15672/', 'name', None),
        ('http://localhost/', 'name', None),
        ('http://a.localhost/', 'name', None),
        ('http://pbx.lan/', 'name', None),
        ('http://metadata.google.internal/', 'name', 'name'),
        ('http://METADATA.google.internal./', 'name', 'name'),
        ('http://instance-data/', 'name', 'name'),
        ('http://notlocalhost.com/', None, None),
        ('http://local.example.com/', None, None),
        ('http://127.0.0.1/', 'address: loopback', None),
        ('http://169.254.169.254/', 'address: link-local', 'address: link-local'),
    ],
)
def test_ports_and_names_by_role(url: str, user: str | None, admin: str | None) -> None:
    assert refusing_rule(url, 'user') == user
    assert refusing_rule(url, 'admin') == admin


def refusing_rule(url: str, role: Role) -> str | None:
    try:
        guard().judge_authority(parse(url).authority, role)
    except EgressRefused as refused:
        return refused.rule
    return None


def test_users_are_told_the_class_and_no_address() -> None:
    answers = [address('93.184.216.34'), address('10.1.2.3')]
    tight = guard('admin', deny=['10.0.0.0/8'])

    with pytest.raises(EgressRefused) as user:
        tight.judge_addresses(answers, 'user')
    with pytest.raises(EgressRefused) as admin:
        tight.judge_addresses(answers, 'admin')

    assert 'private' in user.value.detail['error']
    assert '10.1.2.3' not in str(user.value.detail) + str(user.value)
    assert '10.1.2.3' in admin.value.detail['error']


V4 = st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address)
SHUT = st.sampled_from([*SHUT_V4, *(net for net in NEVER if ':' not in net)]).flatmap(
    lambda text: st.integers(int(ipaddress.ip_network(text)[0]), int(ipaddress.ip_network(text)[-1])).map(
        ipaddress.IPv4Address
    )
)


def spellings(v4: ipaddress.IPv4Address) -> list[ipaddress.IPv6Address]:
    """Every way to write an IPv4 address as an IPv6 one."""
    number = int(v4)
    forms = [
        0xFFFF << 32 | number,
        number,
        0xFFFF0000 << 32 | number,
        0x64FF9B << 96 | number,
        0x64FF9B0001 << 80 | number,
        0x2002 << 112 | number << 80 | 1,
        0x20010000 << 96 | 0x08080808 << 64 | (number ^ 0xFFFFFFFF),
        0x20010000 << 96 | number << 64 | (0x08080808 ^ 0xFFFFFFFF),
        0x26000000 << 96 | 0x5EFE << 32 | number,
        0x26000000 << 96 | 0x2005EFE << 32 | number,
    ]
    return [ipaddress.IPv6Address(form) for form in forms]


@given(SHUT)
def test_any_spelling_of_a_shut_address_is_shut(v4: ipaddress.IPv4Address) -> None:
    judge = guard()

    assert judge.shut(v4, 'user') is not None
    for v6 in spellings(v4):
        assert judge.shut(v6, 'user') is not None


@given(V4)
def test_opening_all_of_ipv6_opens_no_shut_ipv4_address(v4: ipaddress.IPv4Address) -> None:
    judge = guard('user', allow=['::/0'])

    for v6 in spellings(v4):
        if judge.shut(v4, 'user') is not None and int(v6) > 1:
            assert judge.shut(v6, 'user') is not None


@given(V4)
def test_a_mapped_address_is_judged_like_the_plain_one(v4: ipaddress.IPv4Address) -> None:
    judge = guard('user', allow=['10.0.0.0/8'], deny=['8.0.0.0/8'])
    roles: list[Role] = ['user', 'admin']

    for role in roles:
        assert judge.shut(ipaddress.IPv6Address(f'::ffff:{v4}'), role) == judge.shut(v4, role)


@given(st.one_of(V4, st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address)))
def test_nobody_reaches_what_is_never_open(any_address: Any) -> None:
    judge = Guard(
        settings(**{role: SimpleNamespace(allow=['0.0.0.0/0', '::/0'], deny=()) for role in ('user', 'admin')})
    )
    shut = spans(NEVER).find(any_address.version, int(any_address))

    if shut is not None:
        assert judge.shut(any_address, 'user') == shut
        assert judge.shut(any_address, 'admin') == (None if shut == 'loopback' else shut)


@given(V4, st.sampled_from(['{}', '{}.', 'x@{}', '{}%00', '[{}]', '{}\\@e.com', '{}:80:80', '{:#x}', '0{}']))
def test_any_spelling_of_a_shut_address_in_a_url_is_refused(v4: ipaddress.IPv4Address, spelling: str) -> None:
    judge = guard()
    text = spelling.format(int(v4) if spelling == '{:#x}' else v4)
    try:
        target = parse(f'http://{text}/')
        judge.judge_authority(target.authority, 'user')
    except (BadURL, EgressRefused):
        return

    assert judge.shut(v4, 'user') is None
    assert target.host == str(v4)


@given(st.lists(V4, min_size=1, max_size=6), st.integers(0, 6), SHUT)
def test_one_shut_address_spoils_any_answer(answers: list[Any], place: int, shut: Any) -> None:
    with pytest.raises(EgressRefused):
        guard().judge_addresses([*answers[:place], shut, *answers[place:]], 'user')
