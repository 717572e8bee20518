"""``GET /config`` shows everything but secrets (rest.md 3.5)."""

import logging

from wazo_webhookd.config import from_tree
from wazo_webhookd.plugins.config.service import ConfigService

from .conftest import MASTER


def test_everything_is_there_and_secrets_are_masked(rest):
    shown = rest.call('GET', '/config').json

    assert shown['rest_api']['max_threads'] == 10
    assert shown['auth']['password'] == '********'
    assert shown['bus']['password'] == '********'
    assert shown['auth']['username'] == 'webhookd'
    assert 'proformatique' not in str(shown)
    assert shown['db_uri'].startswith('postgresql://asterisk:********@')
    assert shown['celery']['broker'] == 'amqp://guest:********@localhost:5672'
    assert shown['guest'] == {'api_key': '********', 'nice': 1}
    assert shown['auth']['master_tenant_uuid'] == MASTER
    assert shown['log_level'] == 20


def test_showing_changes_nothing(rest):
    rest.call('GET', '/config')

    assert 'master_tenant_uuid' not in rest.house.config.tree['auth']
    assert rest.house.config.tree['auth']['password'] == 'secret'


def service(**asked):
    logger = logging.Logger('test')
    config = from_tree(asked)
    logger.setLevel(config.log_level)
    return ConfigService(config, logger), logger


def test_debug_sets_the_level_and_gives_it_back():
    config, logger = service(log_level='warning')
    config.set_debug(True)
    assert logger.level == logging.DEBUG
    assert config.show()['log_level'] == 10

    config.set_debug(False)
    assert logger.level == logging.WARNING
    assert config.show()['log_level'] == 30


def test_debug_of_the_start_can_be_switched_off():
    config, logger = service(debug=True, log_level='error')
    assert config.show()['debug'] is True
    config.set_debug(False)

    assert logger.level == logging.ERROR
    assert config.show()['debug'] is False
