from __future__ import annotations

import ipaddress
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wazo_webhookd.domain.endpoint import (
    BadURL,
    admission_key,
    literal_origin,
    parse,
    read_authority,
    write_ipv6,
)


@pytest.mark.parametrize(
    ('url', 'origin', 'path_query', 'host_header'),
    [
        ('http://example.com', 'http://example.com:80', '/', 'example.com'),
        ('HTTPS://Example.COM/A?b=C', 'https://example.com:443', '/A?b=C', 'example.com'),
        ('https://example.com:443/', 'https://example.com:443', '/', 'example.com'),
        ('http://example.com:443/', 'http://example.com:443', '/', 'example.com:443'),
        ('http://example.com?x=1', 'http://example.com:80', '/?x=1', 'example.com'),
        ('http://example.com#part', 'http://example.com:80', '/', 'example.com'),
        ('http://example.com/a#part?x', 'http://example.com:80', '/a', 'example.com'),
        ('http://example.com./', 'http://example.com:80', '/', 'example.com'),
        ('http://third_party-http:1080/', 'http://third_party-http:1080', '/', 'third_party-http:1080'),
        ('http://10.0.0.1:8080/', 'http://10.0.0.1:8080', '/', '10.0.0.1:8080'),
        ('http://[2001:DB8::1]/', 'http://[2001:db8::1]:80', '/', '[2001:db8::1]'),
        ('http://[::FFFF:1.2.3.4]:81/', 'http://[::ffff:102:304]:81', '/', '[::ffff:102:304]:81'),
        ('http://bücher.example/', 'http://xn--bcher-kva.example:80', '/', 'xn--bcher-kva.example'),
        ('http://BÜCHER.Example/', 'http://xn--bcher-kva.example:80', '/', 'xn--bcher-kva.example'),
        ('http://e.com/é?ü=1', 'http://e.com:80', '/%C3%A9?%C3%BC=1', 'e.com'),
        ('http://e.com/100%/%41/%zz', 'http://e.com:80', '/100%25/%41/%25zz', 'e.com'),
        ('http://e.com/a[1]|"<>^`{}', 'http://e.com:80', '/a%5B1%5D%7C%22%3C%3E%5E%60%7B%7D', 'e.com'),
        ("http://e.com/-._~!$&'()*+,;=:@/?/?", 'http://e.com:80', "/-._~!$&'()*+,;=:@/?/?", 'e.com'),
    ],
)
def test_parts_of_a_url(url: str, origin: str, path_query: str, host_header: str) -> None:
    target = parse(url)

    assert (target.origin, target.path_query) == (origin, path_query)
    assert target.authority.host_header == host_header


@pytest.mark.parametrize(
    ('url', 'rule'),
    [
        ('', 'url-scheme'),
        ('not a url', 'url-characters'),
        ('example.com/x', 'url-scheme'),
        ('/only/path', 'url-scheme'),
        ('http:/example.com', 'url-scheme'),
        ('http\u017f://example.com/', 'url-scheme'),
        ('http://?x', 'url-scheme'),
        ('http://user:pass@/', 'url-scheme'),
        (' http://example.com/', 'url-characters'),
        ('http://example.com/a b', 'url-characters'),
        ('http://exam ple.com/', 'url-characters'),
        ('http://example.com/\\x', 'url-characters'),
        ('http://example.com\\@evil.example/', 'url-characters'),
        ('http://a..b/', 'url-host'),
        ('http://-a.example/', 'url-host'),
        ('http://a-.example/', 'url-host'),
        ('http://a!b/', 'url-host'),
        ('http://1.2.3/', 'url-host'),
        ('http://name.0x7f/', 'url-host'),
        ('http://name.08/', 'url-host'),
        ('http://straße.example/', 'url-host'),
        ('http://\u212aelvin.example/', 'url-host'),
        ('http://☃.example/', 'url-host'),
        ('http://a。example/', 'url-host'),
        ('http://[1.2.3.4]/', 'url-host'),
        ('http://[::1]x/', 'url-host'),
        ('http://[fe80::1%25eth0]/', 'url-host'),
        ('http://[::1]:/', 'url-port'),
        ('http://e.com:080/', 'url-port'),
        ('http://e.com:65536/', 'url-port'),
        ('http://e.com:8o/', 'url-port'),
        ('http://e.com:٣/', 'url-port'),
        ('http://user@e.com/', 'url-userinfo'),
        ('http://user:@e.com/', 'url-userinfo'),
        ('http://:pass@e.com/', 'url-userinfo'),
        ('http://a:b:c@e.com/', 'url-userinfo'),
        ('http://a:b@c@e.com/', 'url-userinfo'),
        ('http://a%4:b@e.com/', 'url-userinfo'),
        ('http://e.com/' + 'x' * 20000, 'url-length'),
        ('http://' + 'a.' * 2000 + 'com/', 'url-host'),
    ],
)
def test_what_is_not_a_url_names_its_rule(url: str, rule: str) -> None:
    with pytest.raises(BadURL) as bad:
        parse(url)

    assert bad.value.rule == rule


def test_spaces_may_be_encoded_after_the_authority_only() -> None:
    assert parse('http://e.com/a b?c d', spaces=True).path_query == '/a%20b?c%20d'
    for url in ('http://e .com/', 'http://e.com /', 'http://e.com/\n', 'http://e.com/\\'):
        with pytest.raises(BadURL):
            parse(url, spaces=True)


def test_name_and_password_are_decoded_and_masked() -> None:
    target = parse('http://us%65r:p%40ss@e.com/x')

    assert target.authority.credentials == ('user', 'p@ss')
    assert target.masked_url == 'http://user:********@e.com/x'


@pytest.mark.parametrize(
    ('template', 'origin'),
    [
        ('https://e.com/{{ x }}', 'https://e.com:443'),
        ('https://e.com?{{ x }}', 'https://e.com:443'),
        ('https://e.com#{{ x }}', 'https://e.com:443'),
        ('https://E.com:444', 'https://e.com:444'),
        ('https://u:p@e.com/{% if x %}{% endif %}', 'https://e.com:443'),
        ('https://e.com{{ x }}', None),
        ('https://e.com:{{ port }}/', None),
        ('https://{{ host }}/', None),
        ('https://{# e.com/ #}x/', None),
        ('{{ scheme }}://e.com/', None),
        ('https://u:{{ p }}@e.com/', None),
        ('https://e{% raw %}.com/', None),
        ('https://1.2.3/{{ x }}', None),
        ('not a url', None),
        ('', None),
    ],
)
def test_an_origin_is_literal_when_it_ends_before_the_first_brace(template: str, origin: str | None) -> None:
    assert literal_origin(template) == origin


def test_the_admission_key_is_the_endpoint_or_the_subscription() -> None:
    assert admission_key('t', 's', 'http', 'https://E.com/{{ x }}') == 't|https://e.com:443'
    assert admission_key('t', 's', 'http', 'https://{{ x }}/') == 'sub:s'
    assert admission_key('t', 's', 'mobile', 'https://e.com/') == 'sub:s'
    assert admission_key('t', 's', 'http', None) == 'sub:s'


def test_letters_that_case_rules_turn_into_plain_ones_are_not_those() -> None:
    letters = [chr(number) for number in range(128, 0x110000)]
    alike = [c for c in letters if any(form.isascii() for form in (c.lower(), c.casefold()))]
    assert {'\u017f', '\u212a', 'ß'} < set(alike)

    for letter in alike:
        for url in (f'http{letter}://e.com/', f'{letter}ttp://e.com/', f'http://e{letter}.com/', f'http://{letter}/'):
            assert literal_origin(url) is None, url
            assert admission_key('t', 's', 'http', url) == 'sub:s'


URLISH = st.text(alphabet=string.ascii_letters + string.digits + ':/?#[]@%.\\ {}-_~é１\n\0"', max_size=60)


@given(
    st.one_of(st.text(max_size=80), URLISH, URLISH.map('http://'.__add__), URLISH.map('https://a:b@e.com:1/'.__add__))
)
def test_a_url_is_refused_or_written_in_plain_characters(text: str) -> None:
    try:
        target = parse(text)
    except BadURL:
        return
    plain = set(string.ascii_letters + string.digits + string.punctuation)

    assert set(target.path_query) <= plain - set(' \\"<>^`{|}')
    assert target.path_query.startswith('/')
    assert set(target.host) <= set(string.ascii_lowercase + string.digits + '.-_:')
    assert 0 < target.port < 65536


@given(URLISH.map('http://'.__add__))
def test_reading_what_was_read_changes_nothing(text: str) -> None:
    try:
        first = parse(text)
    except BadURL:
        return
    second = parse(f'{first.origin}{first.path_query}')

    assert (second.origin, second.path_query) == (first.origin, first.path_query)


@given(st.sampled_from(['/', '?', '#']), URLISH, st.text(max_size=40))
def test_nothing_after_a_literal_origin_changes_it(end: str, literal: str, value: str) -> None:
    try:
        target = parse(f'https://hooks.example.com{end}{literal}{value}', spaces=True)
    except BadURL:
        return

    assert target.origin == 'https://hooks.example.com:443'


@given(st.integers(min_value=0, max_value=2**128 - 1))
def test_ipv6_addresses_are_written_so_that_they_are_read_back(number: int) -> None:
    written = write_ipv6(number)

    assert int(ipaddress.IPv6Address(written)) == number
    assert read_authority('http', f'[{written}]').host == written


@pytest.mark.parametrize(
    'text', ['::', '::1', '1::', '1:0:0:2::3', '2001:db8::1', '1:2:3:4:5:6:7:8', '::ffff:0:7f00:1']
)
def test_ipv6_addresses_are_written_short(text: str) -> None:
    assert write_ipv6(int(ipaddress.IPv6Address(text))) == text
