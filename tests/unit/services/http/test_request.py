"""The tables of the reference, delivery 5.2, 5.3 and 5.8, and what is new on the outside."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wazo_webhookd.domain import numbers
from wazo_webhookd.domain.endpoint import BadURL
from wazo_webhookd.egress.guard import Role
from wazo_webhookd.services.http.request import (
    BadHook,
    Hook,
    build,
    build_content_type,
    build_target,
    parse_content_type,
)
from wazo_webhookd.services.http.template import TemplateFailed

EVENT = {
    'name': 'call_ended',
    'data': {'variable': 'value', 'ke\u00fd': 'v\u00e0lue', 'n': 3},
    'origin_uuid': 'w-1',
}


def hook(config: dict[str, Any] | None = None, event: Any = None, role: Role = 'admin', **more: Any) -> Hook:
    return build(
        {'url': 'http://h/', 'method': 'post', **(config or {}), **more},
        EVENT if event is None else event,
        role=role,
        delivery_uuid='d-1',
        timestamp=1700000000,
        user_agent='wazo-webhookd/1',
    )


def test_headers_of_a_request() -> None:
    assert hook().headers == {
        'User-Agent': 'wazo-webhookd/1',
        'Accept-Encoding': 'identity',
        'Accept': '*/*',
        'Connection': 'keep-alive',
        'Content-Type': 'application/json; charset=utf-8',
        'webhook-id': 'd-1',
        'webhook-timestamp': '1700000000',
    }


@pytest.mark.parametrize('body', [None, ''])
@pytest.mark.parametrize('method', ['get', 'HEAD', 'post', 'put', 'delete'])
def test_without_a_body_the_data_is_sent_as_ascii_json_whatever_the_method(body: Any, method: str) -> None:
    made = hook(body=body, method=method, content_type='text/yaml')

    assert made.method == method.upper()
    assert made.body == b'{"variable": "value", "ke\\u00fd": "v\\u00e0lue", "n": 3}'
    assert made.headers['Content-Type'] == 'application/json; charset=utf-8'


@pytest.mark.parametrize(
    ('body', 'sent'),
    [
        (None, b'{"n": 1e400, "half": "\\ud800"}'),
        ('{{ event|tojson }}', b'{"half": "\\ud800", "n": 1e400}'),
        ('{{ event.n }}', b'1e400'),
    ],
)
def test_what_json_allows_and_python_does_not_is_sent_as_it_came(body: str | None, sent: bytes) -> None:
    data = json.loads('{"n": 1e400, "half": "\\ud800"}', parse_float=numbers.read)

    assert hook(body=body, event={**EVENT, 'data': data}).body == sent


@pytest.mark.parametrize(
    ('body', 'content_type', 'sent', 'header'),
    [
        ('plain', None, b'plain', 'text/plain; charset=utf-8'),
        ('\u00e9t\u00e9', None, '\u00e9t\u00e9'.encode(), 'text/plain; charset=utf-8'),
        ('a: \u00e9', 'text/yaml; charset=utf-8', 'a: \u00e9'.encode(), 'text/yaml; charset=utf-8'),
        ('a: \u00e9', 'text/yaml; charset', 'a: \u00e9'.encode(), 'text/yaml; charset=utf-8'),
        ('\u00e9', 'text/plain; charset=latin-1', b'\xe9', 'text/plain; charset=latin-1'),
        ('\u00e9', 'text/plain;charset="utf-16"', '\u00e9'.encode('utf-16'), 'text/plain; charset=utf-16'),
        ('{{ event_name }}/{{ event["variable"] }}/{{ wazo_uuid }}', None, b'call_ended/value/w-1', None),
        ('{{ event.missing }}', 'text/html', None, 'text/html; charset=utf-8'),
    ],
)
def test_with_a_body_its_text_is_sent_in_its_charset(
    body: str, content_type: str | None, sent: bytes | None, header: str | None
) -> None:
    made = hook(body=body, content_type=content_type)

    assert made.body == sent
    assert made.headers['Content-Type'] == (header or 'text/plain; charset=utf-8')


@pytest.mark.parametrize(
    ('configured', 'sent', 'charset'),
    [
        ('text/plain;charset="utf-16"', 'text/plain; charset=utf-16', 'utf-16'),
        ('TEXT/PLAIN; Charset=UTF-8', 'text/plain; charset=UTF-8', 'UTF-8'),
        ('garbage', 'text/plain; charset=utf-8', 'utf-8'),
        ('', 'text/plain; charset=utf-8', 'utf-8'),
        (None, 'text/plain; charset=utf-8', 'utf-8'),
        ('text/html; charset', 'text/html; charset=utf-8', 'utf-8'),
        ('application/x; a=1; b="2; 3"; charset=ascii', 'application/x; a=1; b=2; 3; charset=ascii', 'ascii'),
        ('application/x; a=1', 'application/x; a=1; charset=utf-8', 'utf-8'),
        ('a/b; charset=x; charset=utf-8', 'a/b; charset=utf-8', 'utf-8'),
        ('application/vnd.api+json', 'application/vnd.api+json; charset=utf-8', 'utf-8'),
        ('a/b/c', 'text/plain; charset=utf-8', 'utf-8'),
        ('text/plain\r\nX-Evil: 1', 'text/plain; charset=utf-8', 'utf-8'),
        ('text/plain; x="\r\nX-Evil: 1"', 'text/plain; charset=utf-8', 'utf-8'),
        ('text/plain; x=\u2603', 'text/plain; charset=utf-8', 'utf-8'),
    ],
)
def test_content_types(configured: str | None, sent: str, charset: str) -> None:
    assert build_content_type(configured) == (sent, charset)


@given(st.text(max_size=60))
def test_any_text_makes_a_content_type_that_a_header_can_carry(text: str) -> None:
    built, _ = build_content_type(text)

    assert '\r' not in built
    assert '\n' not in built
    built.encode('latin-1')
    assert parse_content_type(built)[0] == parse_content_type(text)[0]


@pytest.mark.parametrize(
    ('body', 'content_type', 'error'),
    [
        ('x', 'text/plain; charset=nope', 'unknown encoding: nope'),
        ('x', 'text/plain; charset=idna', 'unknown encoding: idna'),
        ('x', 'text/plain; charset=punycode', 'unknown encoding: punycode'),
        ('x', 'text/plain; charset=base64', 'unknown encoding: base64'),
        ('\u2603', 'text/plain; charset=latin-1', "can't encode character"),
        ('\u2603', 'text/plain; charset=ascii', "can't encode character"),
    ],
)
def test_a_body_that_cannot_be_encoded_is_an_error(body: str, content_type: str, error: str) -> None:
    with pytest.raises(BadHook, match=error):
        hook(body=body, content_type=content_type)


@pytest.mark.parametrize('key', ['name', 'data', 'origin_uuid'])
def test_an_event_without_a_key_names_it(key: str) -> None:
    with pytest.raises(KeyError, match=key):
        hook(event={name: value for name, value in EVENT.items() if name != key})


@pytest.mark.parametrize('data', [None, 5, 'text', [1, 2], {}, True])
def test_data_may_be_any_json(data: Any) -> None:
    made = hook(event={**EVENT, 'data': data})

    assert made.body is not None
    assert made.text == made.body.decode()


@pytest.mark.parametrize(
    ('configured', 'verify'),
    [
        (None, True),
        ('true', True),
        ('false', False),
        ('/etc/ca.pem', '/etc/ca.pem'),
        (True, True),
        (False, False),
        ('x', True),
    ],
)
def test_how_certificates_are_checked(configured: Any, verify: bool | str) -> None:
    assert hook(verify_certificate=configured).verify == verify


@pytest.mark.parametrize(
    ('configured', 'deadline'),
    [
        (None, None),
        ('1', 1.0),
        ('30', 30.0),
        (5, 5.0),
        ('0', None),
        ('31', None),
        ('x', None),
        ('', None),
        ('1.5', None),
    ],
)
def test_a_subscription_may_set_its_deadline(configured: Any, deadline: float | None) -> None:
    assert hook(timeout=configured).deadline == deadline


def path(url: str, role: Role, **data: Any) -> str:
    names = {'event': data, 'event_name': 'e', 'wazo_uuid': 'w'}
    return build_target(url, names, role).path_query


@pytest.mark.parametrize(
    ('url', 'data', 'user', 'admin'),
    [
        ('http://h/{{ event["variable"] }}?{{ event|urlencode }}', {'variable': 'v'}, '/v?variable=v', '/v?variable=v'),
        ('http://h/?n={{ event.n }}', {'n': 'John Doe'}, '/?n=John%20Doe', '/?n=John%20Doe'),
        ('http://h/?n={{ event.n }}', {'n': 'a&b=c#d'}, '/?n=a%26b%3Dc%23d', '/?n=a&b=c'),
        ('http://h/{{ event.n }}', {'n': '../x'}, '/..%2Fx', '/../x'),
        ('http://h/{{ event.n }}', {'n': 'a\r\nb\\c'}, '/a%0D%0Ab%5Cc', '/a%0D%0Ab%5Cc'),
        ('http://h/{{ event.n }}', {'n': 'é'}, '/%C3%A9', '/%C3%A9'),
        ('http://h/{{ event.n|urlencode }}', {'n': 'a b/é'}, '/a%20b/%C3%A9', '/a%20b/%C3%A9'),
        ('http://h?{{ event|urlencode }}', {'a': 'b c'}, '/?a=b+c', '/?a=b+c'),
        ('http://h/{% if event.n %}x{% endif %}y', {'n': 1}, '/xy', '/xy'),
        ('http://h/plain\n', {}, '/plain', '/plain'),
    ],
)
def test_values_in_urls_by_role(url: str, data: Any, user: str, admin: str) -> None:
    assert path(url, 'user', **data) == user
    assert path(url, 'admin', **data) == admin


def test_administrators_may_template_the_host_and_use_spaces() -> None:
    names = {'event': {'host': 'e.com:81', 'url': 'http://x.example/a b'}, 'event_name': 'e', 'wazo_uuid': 'w'}

    assert build_target('http://{{ event.host }}/a b', names, 'admin').origin == 'http://e.com:81'
    assert build_target('{{ event.url }}', names, 'admin').path_query == '/a%20b'
    assert build_target('http://h/a b', names, 'admin').path_query == '/a%20b'


@pytest.mark.parametrize(
    'url',
    [
        'http://{{ event.host }}/',
        '{{ event.url }}',
        'http://h{{ event.x }}',
        'http://h:{{ event.x }}/',
        'http://h/a b',
        'ftp://h/',
        'x',
    ],
)
def test_users_write_out_where_a_url_leads(url: str) -> None:
    names = {'event': {'host': 'e.com', 'url': 'http://e.com/', 'x': '1'}, 'event_name': 'e', 'wazo_uuid': 'w'}

    with pytest.raises(BadURL):
        build_target(url, names, 'user')


@pytest.mark.parametrize('value', ['x\\@evil.example', 'a@evil.example/', 'e.com\n', 'e .com', '', '[', '%2f'])
def test_a_rendered_host_is_read_strictly(value: str) -> None:
    names = {'event': {'x': value}, 'event_name': 'e', 'wazo_uuid': 'w'}

    with pytest.raises(BadURL):
        build_target('http://{{ event.x }}.example.com/', names, 'admin')


@given(st.text(max_size=50), st.sampled_from(['/', '?', '#', '/?a=', '/%']))
def test_no_value_changes_a_literal_origin(value: str, place: str) -> None:
    names = {'event': {'x': value}, 'event_name': 'e', 'wazo_uuid': 'w'}
    roles: list[Role] = ['user', 'admin']

    for role in roles:
        target = build_target(f'https://u:p@hooks.example.com:444{place}{{{{ event.x }}}}', names, role)
        assert target.origin == 'https://hooks.example.com:444'
        assert target.authority.credentials == ('u', 'p')


@given(st.text(max_size=50))
def test_a_users_value_is_one_piece_of_a_path(value: str) -> None:
    names = {'event': {'x': value}, 'event_name': 'e', 'wazo_uuid': 'w'}

    rest = build_target('https://h.example/a/{{ event.x }}/b', names, 'user').path_query

    assert rest.count('/') == 3
    assert not set(rest) & set('?#&=\\')
    assert '/../' not in rest


def test_a_template_that_fails_in_the_url_or_the_body_says_why() -> None:
    for config in ({'url': 'http://h/{{ event.a.b }}'}, {'body': '{{ event.a.b }}'}):
        with pytest.raises(TemplateFailed, match="'dict object' has no attribute 'a'"):
            hook(config)


def test_a_url_that_renders_too_long_is_refused() -> None:
    with pytest.raises(TemplateFailed, match='more than 16384 characters'):
        path('http://h/{{ "x" * 20000 }}', 'user')
