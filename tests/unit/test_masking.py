import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wazo_webhookd.masking import MASK, is_secret_name, masked, masked_text, masked_uri, masked_value


@pytest.mark.parametrize(
    'name',
    [
        *(
            'password',
            'service_key',
            'apiToken',
            'api-key',
            'client_secret',
            'PASSWORD',
            'tokens',
            'fcm.api_key',
            'jwt',
        ),
        *('password_hash', 'secret_value', 'password1', 'credentials_json', 'proxyAuthorizationHeader'),
    ],
)
def test_name_of_a_secret_is_recognised(name):
    assert is_secret_name(name)


@pytest.mark.parametrize(
    'name',
    [
        *('username', 'key_file', 'master_tenant_uuid', 'monkey', 'token_url', 'port', '', 'passwords_file'),
        *('password_file', 'secret_path', 'credentialsUrl', 'password_min_length', 'secret_type'),
    ],
)
def test_harmless_name_is_not_taken_for_a_secret(name):
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        ('amqp://guest:pw@localhost:5672', f'amqp://guest:{MASK}@localhost:5672'),
        ('amqp://guest:p@w@localhost:5672//', f'amqp://guest:{MASK}@localhost:5672//'),
        ('postgresql+psycopg2://u:a/b@h/db?x=1', f'postgresql+psycopg2://u:{MASK}@h/db?x=1'),
        ('https://secret@example.com/a', f'https://{MASK}@example.com/a'),
        (
            'postgresql://h/db?user=u&password=pw&sslpassword=x',
            f'postgresql://h/db?user=u&password={MASK}&sslpassword={MASK}',
        ),
        ('GET http://h/0.1/token/abc-def?scope=x', f'GET http://h/0.1/token/{MASK}?scope=x'),
        ('http://h/path?token=abc&page=2', f'http://h/path?token={MASK}&page=2'),
        ('https://example.com:443/path', 'https://example.com:443/path'),
        ('somebody@example.com', 'somebody@example.com'),
    ],
)
def test_text_keeps_everything_but_the_secret(text, shown):
    assert masked_text(text) == shown


def test_every_leaf_below_a_secret_name_is_masked():
    tree = {'keys': {'a': 'x', 'b': ['y', 3]}, 'plain': ['z'], 'list': [{'token': 't'}]}

    assert masked(tree) == {'keys': {'a': MASK, 'b': [MASK, MASK]}, 'plain': ['z'], 'list': [{'token': MASK}]}


def test_what_is_not_set_is_seen():
    assert masked({'password': None, 'token': ''}) == {'password': None, 'token': ''}


def test_the_path_of_the_private_key_is_no_secret():
    assert masked({'rest_api': {'private_key': '/etc/ssl/key.pem'}}) == {
        'rest_api': {'private_key': '/etc/ssl/key.pem'}
    }
    assert masked({'guest': {'private_key': '-----BEGIN'}}) == {'guest': {'private_key': MASK}}
    assert masked_value(('rest_api', 'private_key'), 1) == 1
    assert masked_value(('auth', 'password', '0'), 'pw') == MASK


@pytest.mark.parametrize(
    ('value', 'shown'),
    [
        ('Bearer abc.def-123', f'Bearer {MASK}'),
        ('Basic dXNlcjpwdw==', f'Basic {MASK}'),
        ("host=h password='a b' user=u", f'host=h password={MASK} user=u'),
        ('Server=h;Pwd=a*b;Database=d', f'Server=h;Pwd={MASK};Database=d'),
        ('-----BEGIN RSA PRIVATE KEY-----\nMIIE\n', f'-----BEGIN RSA PRIVATE KEY-----{MASK}'),
        ('a bearer of news', 'a bearer of news'),
        ('postgresql://h/db?password=x', f'postgresql://h/db?password={MASK}'),
    ],
)
def test_settings_of_guests_hide_secrets_that_stand_within_a_text(value, shown):
    assert masked({'guest': [value]}) == {'guest': [shown]}


def test_secrets_are_no_names_either():
    assert masked({'amqp://u:pw@h': {'Authorization': 'x'}}) == {f'amqp://u:{MASK}@h': {'Authorization': MASK}}


def test_what_yaml_has_and_json_has_not_is_shown_all_the_same():
    tree = {1: 'a', 'b': {None: b'bytes'}, 'c': {'x'}, 'd': [float('nan'), float('inf')]}

    assert json.loads(json.dumps(masked(tree), allow_nan=False, sort_keys=True)) == {
        '1': 'a', 'b': {'None': 'bytes'}, 'c': ['x'], 'd': ['nan', 'inf'],
    }  # fmt: skip


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        ('postgres//u:pw@host/db', f'{MASK}@host/db'),
        ('u:p@w@host', f'{MASK}@host'),
        ('postgresql://u:pw@host:port/db', f'postgresql://u:{MASK}@host:port/db'),
        ('host', 'host'),
    ],
)
def test_misspelt_uri_shows_no_credentials(text, shown):
    assert masked_uri(text) == shown


_SECRET = st.text('abcdefghijklmnopqrstuvwxyz0123456789!$&*+,=.~-_', min_size=12, max_size=20)
_TREES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(secret=_SECRET, around=_TREES, name=st.sampled_from(['password', 'api_key', 'token']))
def test_no_secret_is_left_wherever_it_is(secret, around, name):
    tree = {'a': around, 'b': [{name: secret}], 'uri': f'amqp://user:{secret}@host/', 'c': {name: {'x': [secret]}}}

    assert secret not in str(masked(tree))


@given(tree=st.dictionaries(st.text(max_size=5), _TREES, max_size=4))
def test_masking_changes_no_shape_and_not_its_argument(tree):
    before = str(tree)
    shown = masked(tree)

    assert isinstance(shown, Mapping)
    assert list(shown) == list(tree)
    assert str(tree) == before
