"""The configuration file that is installed says what the program does without it."""

from pathlib import Path

import yaml

from wazo_webhookd import config

ETC = Path(__file__).parents[2] / 'etc'


def test_shipped_file_restates_the_defaults():
    shipped = yaml.safe_load((ETC / 'wazo-webhookd' / 'config.yml').read_text())

    stated_elsewhere = {'config_file': '/etc/wazo-webhookd/config.yml'}
    commented_out = {'hook_max_attempts': None, 'hook_http_retry_countdown_factor': None}
    assert shipped | stated_elsewhere | commented_out == config.default_tree()


def test_keys_that_change_the_retry_formula_are_commented_out():
    lines = (ETC / 'wazo-webhookd' / 'config.yml').read_text().splitlines()

    assert '#hook_max_attempts: 10' in lines
    assert '#hook_http_retry_countdown_factor: 2' in lines


def test_purge_settings_keep_thirty_days_of_logs():
    purge = yaml.safe_load((ETC / 'wazo-purge-db' / 'conf.d' / '50-webhookd.yml').read_text())

    assert purge == {
        'enabled_plugins': {'purgers': {'webhookd-logs': True}},
        'days_to_keep_per_plugin': {'webhookd-logs': 30},
    }


def test_nginx_strips_the_prefix_and_says_so():
    text = (ETC / 'nginx' / 'locations' / 'https-available' / 'wazo-webhookd').read_text()

    assert 'location ^~ /api/webhookd/ {' in text
    assert 'proxy_pass http://127.0.0.1:9300/;' in text
    assert all(name in text for name in ('Host', 'X-Script-Name', 'X-Forwarded-For', 'X-Forwarded-Proto'))


def test_every_key_says_what_it_means():
    from wazo_webhookd.settings import Section, Settings

    def silent(model, path):
        for name, field in model.model_fields.items():
            if isinstance(field.default, Section) and not field.description:
                assert type(field.default).__doc__, f'{path}{name}'
            elif not field.description:
                yield f'{path}{name}'
            if isinstance(field.default, Section):
                yield from silent(type(field.default), f'{path}{name}.')

    assert list(silent(Settings, '')) == []
