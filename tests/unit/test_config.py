import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wazo_webhookd import config
from wazo_webhookd.config_files import merge
from wazo_webhookd.exceptions import ConfigError


def faults(asked, **more):
    with pytest.raises(ConfigError) as caught:
        config.from_tree(asked, **more)
    return caught.value.faults


def test_defaults_are_typed_and_frozen():
    settings = config.from_tree()

    assert settings.bus.queue.name == 'wazo_webhookd.events'
    assert settings.rest_api.port == 9300
    assert settings.hook_retry_schedule == (0, 5, 30, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
    assert settings.hook_max_attempts is None
    assert settings.log_level == logging.INFO
    assert settings.pool_size == 10
    assert settings.service_timeout('http') == 300
    with pytest.raises(ValueError, match='frozen'):
        settings.rest_api.port = 1


@pytest.mark.parametrize(
    ('asked', 'fault'),
    [
        ({'rest_api': {'port': 'x'}}, "rest_api.port: 'x': expected a whole number"),
        ({'rest_api': {'port': 70000}}, 'rest_api.port: 70000: expected a number of at most 65535'),
        ({'rest_api': {'max_threads': 0}}, 'rest_api.max_threads: 0: expected a number of at least 1'),
        ({'rest_api': [1]}, 'rest_api: [1]: expected a mapping of keys to values'),
        ({'celery': {'pool': 'gevent'}}, "celery.pool: 'gevent': expected one of: threads or prefork"),
        ({'celery': {'hands': True}}, 'celery.hands: True: expected a number, not true or false'),
        ({'celery': {'hands': 1.5}}, 'celery.hands: 1.5: expected a whole number'),
        ({'celery': {'worker_min': 9}}, 'celery.worker_min: 9: expected at most celery.worker_max'),
        ({'debug': 'perhaps'}, "debug: 'perhaps': expected true or false"),
        ({'log_level': 'FOO'}, "log_level: 'FOO': expected one of: critical, error, warning, info, debug"),
        ({'bus': {'host': ''}}, "bus.host: '': expected a text that is not empty"),
        ({'bus': {'host': ['a']}}, "bus.host: ['a']: expected a text"),
        (
            {'auth': {'verify_certificate': 3}},
            'auth.verify_certificate: 3: expected true, false or the path of a CA bundle',
        ),
        ({'auth': {'timeout': float('inf')}}, 'auth.timeout: inf: expected a finite number'),
        ({'auth': {'timeout': 0}}, 'auth.timeout: 0: expected a number above 0'),
        ({'hook_retry_schedule': []}, 'hook_retry_schedule: []: expected a list with at least 1 item(s)'),
        ({'hook_retry_schedule': [0, -1]}, 'hook_retry_schedule.1: -1: expected a number of at least 0'),
        (
            {'egress': {'user': {'allow': ['10.1/16']}}},
            "egress.user.allow.0: '10.1/16': expected an address or a network such as 10.1.0.0/16",
        ),
        (
            {'egress': {'proxy': 'socks://x'}},
            "egress.proxy: 'socks://x': expected null or a URL such as http://proxy.example.com:3128",
        ),
        ({'services': {'http': {'timeout': -1}}}, 'services.http.timeout: -1: expected a number above 0'),
        ({'enabled_plugins': {'api': 'maybe'}}, "enabled_plugins.api: 'maybe': expected true or false"),
        ({'circuit': {'rest': 7200}}, 'circuit.rest: 7200: expected at most circuit.rest_max'),
        (
            {'db_uri': 'sqlite:///x'},
            "db_uri: 'sqlite:///x': expected a PostgreSQL URI (SQLite is for --standalone only)",
        ),
        (
            {'db_uri': 'postgresql://me@host:port/x'},
            "db_uri: 'postgresql://********@host:port/x': expected a URI such as postgresql://user:password@host/database",
        ),
        (
            {'celery': {'broker': 'http://x'}},
            "celery.broker: 'http://x': expected a URL such as amqp://user:password@host:5672/vhost",
        ),
        (
            {'celery': {'broker': 'amqp://one;amqp://two:port'}},
            "celery.broker: 'amqp://one;amqp://two:port': expected a URL such as amqp://user:password@host:5672/vhost",
        ),
    ],
)
def test_fault_names_key_value_and_what_is_expected(asked, fault):
    assert faults(asked) == [fault]


def test_all_faults_are_told_at_once():
    told = faults({'debug': 'x', 'bus': {'port': 0}, 'celery': {'pool': 1}}, uuid_required=True)

    assert [line.partition(':')[0] for line in told] == ['uuid', 'debug', 'bus.port', 'celery.pool']


def test_fault_does_not_show_a_secret():
    told = faults({'auth': {'password': ['hunter2']}, 'db_uri': 'mysql://root:hunter2@host'})

    assert 'hunter2' not in '\n'.join(told)
    assert 'mysql://root:********@host' in told[0]


def test_long_value_is_cut():
    (told,) = faults({'debug': 'x' * 5000})

    assert len(told) < 200


@pytest.mark.parametrize('environment', [{}, {'XIVO_UUID': ''}])
def test_missing_uuid_says_where_it_comes_from(environment):
    (told,) = faults({}, uuid_required=True, environ=environment)

    assert 'XIVO_UUID' in told


def test_uuid_of_the_environment_wins_over_the_file():
    settings = config.from_tree({'uuid': 'file'}, environ={'XIVO_UUID': 'environment'}, uuid_required=True)

    assert settings.uuid == 'environment'
    assert settings.tree['uuid'] == 'environment'
    assert config.from_tree({'uuid': 'file'}, uuid_required=True).uuid == 'file'


def test_unknown_keys_are_kept_for_guests():
    settings = config.from_tree({'mobile': {'fcm': {'x': 1}}, 'bus': {'other': 2}, 'auth': {'site': 'b'}})

    assert settings.tree['mobile'] == {'fcm': {'x': 1}}
    assert settings.tree['bus']['other'] == 2
    assert settings.tree['auth']['site'] == 'b'
    assert settings.tree['bus']['port'] == 5672


def test_guests_see_a_tree_that_is_json_with_absent_keys_absent():
    tree = config.from_tree({'db_uri': 'postgresql://a@b/c'}).tree

    assert json.loads(json.dumps(tree)) == tree
    assert tree['db_uri'] == 'postgresql://a@b/c'
    assert tree['log_level'] == 20
    assert 'username' not in tree['auth']
    assert 'host' not in tree['consul']
    assert tree['rest_api']['certificate'] is None


@pytest.mark.parametrize('scheme', ['postgresql', 'postgres', 'postgresql+psycopg2'])
def test_postgresql_means_psycopg2(scheme):
    assert config.from_tree({'db_uri': f'{scheme}://u:p@h/d?x=1'}).db_uri == 'postgresql+psycopg2://u:p@h/d?x=1'


def test_empty_section_keeps_its_defaults():
    settings = config.from_tree({'bus': None, 'rest_api': {'cors': None}, 'enabled_services': None})

    assert settings.bus.port == 5672
    assert settings.rest_api.cors.enabled
    assert settings.tree['enabled_services'] == {'http': True, 'mobile': True}


def test_new_rooms_are_loaded_though_existing_files_do_not_name_them():
    settings = config.from_tree({'enabled_plugins': {'api': True, 'status': False}})

    assert settings.enabled_plugins['events']
    assert settings.enabled_plugins['deliveries']
    assert settings.enabled_plugins['egress']
    assert not settings.enabled_plugins['status']


def test_numbers_in_quotes_are_numbers_and_numeric_passwords_are_text():
    settings = config.from_tree({'bus': {'port': '5673', 'password': 1234}})

    assert settings.bus.port == 5673
    assert settings.bus.password == '1234'


def test_debug_forces_the_level():
    assert config.from_tree({'debug': True, 'log_level': 'error'}).log_level == logging.DEBUG
    assert config.from_tree({'debug': True}).tree['log_level'] == logging.DEBUG


@pytest.mark.parametrize('name', ['ERROR', 'error', 'Error'])
def test_level_is_read_in_any_case(name):
    assert config.from_tree({'log_level': name}).log_level == logging.ERROR


def test_bus_url_escapes_what_needs_it():
    settings = config.from_tree({'bus': {'username': 'a@b', 'password': 'c/d', 'host': '::1', 'vhost': '/x'}})

    assert settings.bus.url == 'amqp://a%40b:c%2Fd@[::1]:5672/%2Fx'
    assert config.from_tree().bus.url == 'amqp://guest:guest@localhost:5672/%2F'


def test_prefix_of_wazo_auth_gets_its_slash():
    assert config.from_tree({'auth': {'prefix': 'api/auth'}}).auth.prefix == '/api/auth'
    assert config.from_tree({'auth': {'prefix': '/api/auth'}}).auth.prefix == '/api/auth'
    assert config.from_tree({'auth': {'prefix': None}}).auth.prefix is None


@pytest.mark.parametrize('url', ['amqps://u:p@mq:5671/v', 'pyamqp://mq//', 'amqp://one;amqp://two:5673'])
def test_every_way_to_rabbitmq_may_be_the_task_broker(url):
    assert config.from_tree({'celery': {'broker': url}}).celery.broker == url


def test_other_cors_keys_are_handed_on():
    settings = config.from_tree({'rest_api': {'cors': {'max_age': 5}}})

    assert settings.rest_api.cors.options == {
        'allow_headers': ['Content-Type', 'X-Auth-Token', 'Wazo-Tenant'],
        'max_age': 5,
    }


def test_standalone_decides_about_database_broker_user_and_log_file():
    asked = {
        'db_uri': 'postgresql://a@b/c',
        'user': 'somebody',
        'log_file': '/var/log/x',
        'celery': {'pool': 'prefork'},
    }
    settings = config.from_tree(asked, standalone=True, data_dir='/data')

    assert settings.db_uri == 'sqlite:////data/webhookd.sqlite'
    assert settings.celery.broker == 'memory://'
    assert settings.celery.pool == 'threads'
    assert settings.user is None
    assert settings.log_file is None
    assert settings.enabled_services['example']
    assert settings.standalone
    assert str(settings.data_dir) == '/data'


def test_standalone_has_the_same_uuid_at_every_start_also_where_its_data_were_moved():
    first, second = (config.from_tree(standalone=True, data_dir=folder, uuid_required=True) for folder in ('/a', '/b'))

    assert first.uuid == second.uuid != ''


@pytest.mark.parametrize(
    ('environment', 'folder'),
    [
        ({'XDG_DATA_HOME': '/share'}, '/share/wazo-webhookd'),
        ({'XDG_DATA_HOME': 'relative'}, '/home/me/.local/share/wazo-webhookd'),
        ({}, '/home/me/.local/share/wazo-webhookd'),
    ],
)
def test_standalone_keeps_its_data_where_the_desktop_standard_says(environment, folder, monkeypatch):
    monkeypatch.setenv('HOME', '/home/me')

    assert str(config.from_tree(standalone=True, environ=environment).data_dir) == folder


def test_slips_of_the_pen_are_noticed_but_not_in_open_sections():
    settings = config.from_tree({'rest_api': {'prot': 1, 'cors': {'enable': 1}}, 'celry': {}, 'guest': {}})

    assert config.unknown_keys(settings) == [
        'rest_api.prot: not one of our keys: did you mean rest_api.port?',
        'celry: not one of our keys: did you mean celery?',
    ]


def test_shown_configuration_holds_no_secret():
    settings = config.from_tree({'bus': {'password': 'hunter2'}, 'db_uri': 'postgresql://u:hunter2@h/d'})

    assert 'hunter2' not in config.as_yaml(settings)
    assert 'hunter2' not in repr(settings) + repr(settings.bus) + repr(settings.celery)
    assert 'log_level: info' in config.as_yaml(settings)


_TREES = st.dictionaries(
    st.sampled_from('abc'),
    st.recursive(st.integers(), lambda inner: st.dictionaries(st.sampled_from('abc'), inner, max_size=3), max_leaves=8),
    max_size=3,
)


@given(high=_TREES, low=_TREES)
def test_merge_keeps_all_of_the_higher_tree(high, low):
    merged = merge(high, low)

    assert merge(high, merged) == merged
    assert set(merged) == set(high) | set(low)
    assert all(merged[key] == low[key] for key in set(low) - set(high))


_VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers(), max_size=2)
)
_SECTIONS = st.sampled_from(sorted(config.default_tree()))


@given(
    section=_SECTIONS,
    value=_VALUES | st.dictionaries(st.sampled_from(['port', 'host', 'http', 'queue']), _VALUES, max_size=3),
)
def test_any_value_is_taken_or_refused_in_words(section, value):
    told = []
    try:
        config.from_tree({section: value})
    except ConfigError as error:
        told = error.faults

    assert all(': expected ' in fault for fault in told)
