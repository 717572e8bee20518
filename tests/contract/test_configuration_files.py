"""Where configuration comes from, and what wins."""

import pytest

from wazo_webhookd import config
from wazo_webhookd.exceptions import ConfigError

UUID = {'XIVO_UUID': '54e9c1b3-f9a6-43ba-8e6b-bd2d2c21c7bb'}


class Files:
    """A folder like /etc/wazo-webhookd."""

    def __init__(self, folder):
        self.main = folder / 'config.yml'
        self.conf_d = folder / 'conf.d'
        self.conf_d.mkdir()
        self.key = folder / 'key.yml'
        self.key.write_text('service_id: wazo-webhookd\nservice_key: secret-key\n')
        self.told = []
        self.write('')

    def write(self, text, with_key_file=True):
        lines = [f'extra_config_files: {self.conf_d}']
        if with_key_file:
            lines.append(f'auth: {{key_file: {self.key}}}')
        self.main.write_text('\n'.join([*lines, text]))

    def load(self, overrides=None, **more):
        return config.load(
            {'config_file': str(self.main), **(overrides or {})}, environ=UUID, say=self.told.append, **more
        )


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def test_first_extra_file_wins_over_the_others_and_the_main_file(files):
    files.write('rest_api: {port: 1, listen: main, max_threads: 7}')
    (files.conf_d / '50-default.yml').write_text('rest_api: {port: 2, listen: second}')
    (files.conf_d / '10-mine.yml').write_text('rest_api: {port: 3}')
    settings = files.load()

    assert settings.rest_api.port == 3
    assert settings.rest_api.listen == 'second'
    assert settings.rest_api.max_threads == 7
    assert files.told == []


def test_lists_are_taken_whole_and_a_scalar_replaces_a_mapping(files):
    files.write('guest: {a: {b: 1}}\nservice_discovery: {extra_tags: [a, b]}')
    (files.conf_d / 'x.yml').write_text('guest: {a: 5}\nservice_discovery: {extra_tags: [c]}')
    settings = files.load()

    assert settings.tree['guest'] == {'a': 5}
    assert settings.service_discovery.extra_tags == ('c',)


@pytest.mark.parametrize('name', ['.hidden.yml', 'x.yaml', 'README', 'x.yml.bak'])
def test_other_files_of_the_directory_are_not_read(files, name):
    (files.conf_d / name).write_text('debug: true')

    assert not files.load().debug
    assert files.told == []


def test_command_line_wins_over_files_and_the_key_file_over_the_command_line(files):
    (files.conf_d / 'x.yml').write_text('user: file\nauth: {username: me}')
    settings = files.load({'user': 'command-line', 'debug': True})

    assert settings.user == 'command-line'
    assert settings.log_level == 10
    assert settings.auth.username == 'wazo-webhookd'
    assert settings.auth.password == 'secret-key'


def test_key_file_is_not_read_when_name_and_password_are_configured(files):
    files.key.unlink()
    (files.conf_d / 'x.yml').write_text('auth: {username: me, password: pw}')
    settings = files.load()

    assert settings.auth.username == 'me'
    assert settings.auth.password == 'pw'
    assert files.told == []


def test_absent_key_file_is_told_and_the_start_goes_on(files):
    files.key.unlink()
    settings = files.load()

    assert settings.auth.username is None
    (told,) = files.told
    assert told.startswith(f'{files.key}: ')
    assert 'set auth.username and auth.password' in told


def test_key_file_without_a_key_is_a_fault(files):
    files.key.write_text('service_id: x')
    with pytest.raises(ConfigError, match='missing service_key'):
        files.load()


@pytest.mark.parametrize(
    'text',
    [
        'rest_api: {port: ',
        'a: b: c',
        '\t',
        '- 1\n- 2',
        'just text',
        'a: !unknown 1',
        'x: !exec {run: 1}',
        '\x00',
        'a: &a [*a]',
        'a: &a {b: *a}',
        '\xff',
    ],
)
def test_main_file_that_is_no_yaml_mapping_ends_the_start_naming_file_and_cause(files, text):
    files.main.write_bytes(text.encode('latin-1'))
    with pytest.raises(ConfigError) as caught:
        files.load()

    assert str(caught.value).startswith(f'{files.main}: ')
    assert '\n' not in str(caught.value)
    assert 'expected' in str(caught.value)


def test_command_that_fails_is_named_with_what_it_says(files):
    files.main.write_text('password: !exec {command: cat /does/not/exist}')
    with pytest.raises(ConfigError) as caught:
        files.load()

    said = 'cat: /does/not/exist: No such file or directory'
    assert str(caught.value) == f'{files.main}: line 1, column 11: !exec: cat ended with code 1 ({said})'


def test_broken_main_file_names_the_line(files):
    files.main.write_text('debug: true\nrest_api: [')
    with pytest.raises(ConfigError, match=r'config.yml: line 2, column 12: '):
        files.load()


def test_broken_extra_file_is_told_and_skipped(files):
    (files.conf_d / 'a.yml').write_text('debug: [')
    (files.conf_d / 'b.yml').write_text('log_level: error')
    settings = files.load()

    assert settings.log_level == 40
    (told,) = files.told
    assert told.startswith(f'{files.conf_d}/a.yml: line 1')
    assert told.endswith('(file skipped)')


def test_unreadable_main_file_and_directory_are_told_and_taken_as_empty(files):
    files.main.write_text('extra_config_files: /does/not/exist\nauth: {username: a, password: b}')
    files.load()

    assert files.told == [
        '/does/not/exist: cannot read this directory of configuration files: No such file or directory'
    ]


def test_empty_file_is_an_empty_mapping(files):
    files.main.write_text(f'extra_config_files: {files.conf_d}\nauth: {{key_file: {files.key}}}')
    (files.conf_d / 'empty.yml').write_text('# nothing\n')

    assert files.load().rest_api.port == 9300


def test_exec_runs_a_command_and_reads_its_output_as_yaml(files):
    files.write('guest: !exec {command: "echo {a: [1, 2]}"}\nrest_api: {port: !exec {command: echo 9301}}')
    settings = files.load()

    assert settings.tree['guest'] == {'a': [1, 2]}
    assert settings.rest_api.port == 9301


@pytest.mark.parametrize(
    ('command', 'cause'), [('/no/such/program', 'cannot be run'), ('ls /no/such/file', 'ls ended with code 2')]
)
def test_exec_that_fails_is_a_fault(files, command, cause):
    files.write(f'guest: !exec {{command: {command}}}')
    with pytest.raises(ConfigError, match=cause):
        files.load()


def test_dates_stay_text_for_guests(files):
    files.write('guest: {since: 2026-01-01}')

    assert files.load().tree['guest'] == {'since': '2026-01-01'}


def test_faults_of_all_files_are_told_at_once(files):
    files.write('debug: perhaps')
    (files.conf_d / 'a.yml').write_text('bus: {port: -1}')
    with pytest.raises(ConfigError) as caught:
        files.load()

    assert len(caught.value.faults) == 2


@pytest.mark.parametrize(
    'text',
    [
        'db_uri: postgres//u:hunter2@h/db',
        'db_uri: sqlite://u:hunter2@h/db',
        'celery: {broker: "u:hunter2@h"}',
        'egress: {proxy: "u:hunter2@p"}',
    ],
)
def test_fault_of_a_misspelt_uri_shows_no_credentials(files, text):
    files.write(text)
    with pytest.raises(ConfigError) as caught:
        files.load()

    assert 'hunter2' not in str(caught.value)
    assert '@' in str(caught.value)


def test_directory_can_be_moved_by_the_main_file_only(files, tmp_path):
    (files.conf_d / 'a.yml').write_text('extra_config_files: /elsewhere\nconfig_file: /elsewhere')
    settings = files.load()

    assert settings.config_file == str(files.main)


def test_standalone_reads_no_file_unless_told(tmp_path):
    told = []
    settings = config.load(standalone=True, data_dir=tmp_path, environ={}, say=told.append)

    assert settings.enabled_services['example']
    assert told == []


def test_standalone_takes_what_a_file_enables(files, tmp_path):
    files.write('enabled_services: {guest: true}\ndb_uri: postgresql://a@b/c')
    settings = files.load(standalone=True, data_dir=tmp_path)

    assert settings.enabled_services['guest']
    assert settings.db_uri.startswith('sqlite:///')
    assert settings.auth.username is None
