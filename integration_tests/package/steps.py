"""What an operator does with the package, in order; each step is a sentence, its function shows that it is true."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from integration_tests.package import packages
from integration_tests.package.inside.doubles import RECEIVER_PORT
from integration_tests.package.machine import Machine
from integration_tests.support.until import until

TOKEN = '5f1c9a52-6f0f-4b8e-9d5e-2d6a7c1b0e4f'
WAZO_UUID = '08c56466-8f29-45c7-9856-92bf1ba89b92'
KEY_FILE = '/var/lib/wazo-auth-keys/wazo-webhookd-key.yml'
RECEIVED = '/srv/received.jsonl'
COMMANDS = ('', '-demo', '-init-amqp', '-init-db', '-sync-db', '-worker')
UNITS = ('wazo-webhookd.service', 'wazo-webhookd-worker@.service')
EXPOSURE = 2.0
START_SECONDS = 2.0
INSTALLED_MEBIBYTES = 150

REPOSITORY = Path(__file__).parents[2]

Step = Callable[['Stay'], str | None]


class Stay:
    """The machine during the test. Steps return what they measured, if anything."""

    def __init__(self, machine: Machine, package: Path, folder: Path) -> None:
        self.machine = machine
        self.package = package
        self.folder = folder
        self.subscriptions: dict[str, str] = {}

    def bring(self, file: Path) -> str:
        """Put it into the machine; the path there."""
        target = self.machine.path('/srv') / file.name
        if file.is_dir():
            shutil.copytree(file, target, dirs_exist_ok=True)
        else:
            shutil.copy(file, target)
        return f'/srv/{file.name}'

    def install(self, file: Path, *options: str) -> str:
        """What apt and the package said."""
        return self.machine.run('apt-get', 'install', '-qy', '--no-install-recommends', *options, self.bring(file))

    def rest(self, method: str, path: str, body: Any = None, expect: int = 200) -> Any:
        status, answer = self.machine.call(method, path, TOKEN, body)
        assert status == expect, f'{method} {path}: {status} {answer}'
        return answer

    def subscribe(self, name: str, service: str, event: str, config: dict[str, str]) -> str:
        body = {'name': name, 'service': service, 'events': [event], 'config': config}
        uuid = str(self.rest('POST', '/subscriptions', body, expect=201)['uuid'])
        self.subscriptions[name] = uuid
        return uuid

    def publish(self, event: str, count: int = 1, pause: float = 0.0) -> list[str]:
        """The command that publishes; run it, or start it."""
        python = '/opt/venvs/wazo-webhookd/bin/python3'
        return [python, '/srv/tests/integration_tests/package/inside/publish.py', event, str(count), str(pause)]

    def received(self, path: str) -> list[dict[str, Any]]:
        lines = self.machine.read(RECEIVED).splitlines()
        return [item for item in map(json.loads, lines) if item['path'] == path]

    def wait_for(self, path: str, count: int = 1, seconds: float = 20) -> list[dict[str, Any]]:
        until(lambda: len(self.received(path)) >= count, seconds, what=f'{count} requests for {path}')
        return self.received(path)

    def wait_until_all_is_well(self, seconds: float = 40) -> None:
        def well() -> bool:
            status = self.rest('GET', '/status')
            bad = {name: value for name, value in status.items() if value.get('status') == 'fail'}
            assert not bad, bad
            return True

        until(well, seconds, every=0.3, what='every component of /status is ok')


# -- installing ---------------------------------------------------------------------------------------


def alone(stay: Stay) -> str:
    """install where neither PostgreSQL nor RabbitMQ is: configured, with one line for each thing left to do"""
    said = stay.install(stay.package)
    lines = [line for line in said.splitlines() if line.startswith('wazo-webhookd')]
    assert len(lines) == 3, said
    assert lines[0].endswith('type: wazo-webhookd-init-db --user postgres'), lines
    assert lines[1].endswith('type: wazo-webhookd-init-amqp -c /etc/wazo-webhookd/config.yml'), lines
    assert 'XIVO_UUID' in lines[2], lines
    assert stay.machine.run('dpkg-query', '-W', '-f', '${db:Status-Abbrev}', 'wazo-webhookd').strip() == 'ii'
    kibibytes = int(stay.machine.run('dpkg-query', '-W', '-f', '${Installed-Size}', 'wazo-webhookd'))
    size = kibibytes / 1024
    assert size <= INSTALLED_MEBIBYTES, f'{size:.0f} MiB installed'
    return f'{size:.0f} MiB installed'


def files(stay: Stay) -> None:
    """user, log file, nginx link and folders are there, with their rights"""
    machine = stay.machine
    assert 'nologin' in machine.run('getent', 'passwd', 'wazo-webhookd')
    assert machine.run('stat', '-c', '%U:%G %a', '/var/log/wazo-webhookd.log') == 'wazo-webhookd:adm 640\n'
    link = machine.path('/etc/nginx/locations/https-enabled/wazo-webhookd')
    assert machine.run('readlink', '-f', '/etc/nginx/locations/https-enabled/wazo-webhookd').endswith(
        'https-available/wazo-webhookd\n'
    ), link
    assert machine.path('/usr/share/wazo-webhookd/alembic/env.py').exists()
    assert machine.path('/etc/wazo-webhookd/conf.d').is_dir()


def commands(stay: Stay) -> str:
    """every command has a short help that comes quickly, a manual and completion"""
    machine = stay.machine
    for end in COMMANDS:
        name = f'wazo-webhookd{end}'
        assert machine.run(name, '--help').startswith(f'usage: {name}')
        assert name in machine.run('man', '-P', 'cat', name), name
        assert machine.path(f'/usr/share/bash-completion/completions/{name}').exists(), name
    completed = 'source /usr/share/bash-completion/completions/wazo-webhookd; COMP_WORDS=(wazo-webhookd --sta)'
    completed += '; COMP_CWORD=1; _wazo_webhookd; echo "${COMPREPLY[@]}"'
    assert machine.run('bash', '-c', completed) == '--standalone\n'
    python = '/opt/venvs/wazo-webhookd/bin/python3'
    help_seconds = _fastest(machine, 'wazo-webhookd', '--help')
    imports_seconds = _fastest(machine, python, '-c', 'import celery, flask, sqlalchemy')
    ratio = help_seconds / imports_seconds
    assert ratio < 0.35, f'{help_seconds:.3f} s : {imports_seconds:.3f} s'
    return f'help {1000 * help_seconds:.0f} ms, {ratio:.2f} of importing celery, flask, sqlalchemy'


def _fastest(machine: Machine, *command: str) -> float:
    """Seconds within the machine, best of several, the way into it not counted."""
    timing = 'import subprocess, sys, time\nbest = 9.0\nfor _ in range(7):\n    began = time.perf_counter()\n'
    timing += '    subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)\n'
    timing += '    best = min(best, time.perf_counter() - began)\nprint(best)'
    return float(machine.run('python3', '-c', timing, *command))


def units(stay: Stay) -> str:
    """systemd finds nothing to say about the units, and little to attack"""
    shown = []
    for unit in UNITS:
        path = f'/lib/systemd/system/{unit}'
        said = stay.machine.run('systemd-analyze', 'verify', path).strip()
        assert not said, said
        table = stay.machine.run('systemd-analyze', 'security', '--offline=true', '--no-pager', path)
        exposure = float(re.findall(r'Overall exposure level for .*: ([\d.]+)', table)[0])
        assert exposure <= EXPOSURE, table
        shown.append(f'{unit} {exposure}')
    return ', '.join(shown)


def purger(stay: Stay) -> None:
    """Debian's Python finds the purger, and nothing else of ours"""
    script = """
from importlib.metadata import entry_points
import sqlalchemy
assert sqlalchemy.__version__.startswith('1.4.'), sqlalchemy.__version__
(entry,) = entry_points(group='wazo_purge_db.purgers')
assert entry.name == 'webhookd-logs'
assert entry.load()().purge
assert not entry_points(group='wazo_webhookd.services')
"""
    stay.machine.run('apt-get', 'install', '-qy', '--no-install-recommends', 'python3-sqlalchemy', 'python3-psycopg2')
    stay.machine.run('python3', '-W', 'error', '-c', script, user='nobody')


# -- running ------------------------------------------------------------------------------------------


def waiting(stay: Stay) -> str:
    """the daemon starts without its servers, says so, and waits"""
    machine = stay.machine
    machine.write('/etc/default/wazo-webhookd', f'XIVO_UUID={WAZO_UUID}\n')
    machine.sh(
        f'install -d /var/lib/wazo-auth-keys; install -m 640 -g wazo-webhookd /dev/null {KEY_FILE};'
        f'printf "service_id: webhookd-service\\nservice_key: webhookd-password\\n" > {KEY_FILE}'
    )
    seconds = _start(stay)
    assert machine.property('wazo-webhookd', 'StatusText') == 'waiting for the database, bus away'
    assert stay.machine.call('GET', '/status', TOKEN)[0] in (401, 503)
    return f'ready after {seconds:.2f} s'


def _start(stay: Stay) -> float:
    """Seconds from systemctl start to ready."""
    script = 'import subprocess, time; began = time.perf_counter(); '
    script += "subprocess.run(['systemctl', 'start', 'wazo-webhookd'], check=True); print(time.perf_counter() - began)"
    return float(stay.machine.run('python3', '-c', script))


def healing(stay: Stay) -> None:
    """PostgreSQL and RabbitMQ come, the two commands are typed, and the daemon heals by itself"""
    machine = stay.machine
    machine.run('apt-get', 'install', '-qy', '--no-install-recommends', 'postgresql', 'rabbitmq-server', seconds=600)
    machine.run('wazo-webhookd-init-db', '--user', 'postgres')
    machine.run('wazo-webhookd-init-amqp', '-c', '/etc/wazo-webhookd/config.yml')
    shutil.copytree(REPOSITORY / 'integration_tests', machine.path('/srv/tests/integration_tests'))
    machine.start(
        'env', '-C', '/srv/tests', 'python3', '-m', 'integration_tests.package.inside.doubles', RECEIVED, TOKEN
    )
    until(lambda: machine.path(RECEIVED).exists(), 20, what='the stand-ins run')
    stay.wait_until_all_is_well(90)
    until(lambda: machine.property('wazo-webhookd', 'StatusText') == '0 subscriptions, bus connected', 20)


def event(stay: Stay) -> None:
    """an event on the bus becomes a request"""
    stay.subscribe('first', 'http', 'user_created', _to('/first'))
    stay.machine.run(*stay.publish('user_created'))

    (request,) = stay.wait_for('/first')
    assert request['headers']['user-agent'].startswith('wazo-webhookd/')
    assert json.loads(request['body']) == {'number': 0}
    until(lambda: '1 subscriptions' in stay.machine.property('wazo-webhookd', 'StatusText'), 20)


def _to(path: str) -> dict[str, str]:
    return {'method': 'post', 'url': f'http://127.0.0.1:{RECEIVER_PORT}{path}'}


def start_time(stay: Stay) -> str:
    """from systemctl start to ready is quick"""
    seconds = []
    for _ in range(3):
        stay.machine.run('systemctl', 'stop', 'wazo-webhookd')
        seconds.append(_start(stay))
    assert min(seconds) <= START_SECONDS, seconds
    stay.wait_until_all_is_well()
    return f'{min(seconds):.2f} s'


def own_user(stay: Stay) -> None:
    """daemon and workers are wazo-webhookd from the start, without any right of root"""
    machine = stay.machine
    pids = machine.run('pgrep', '-u', 'wazo-webhookd').split()
    assert len(pids) >= 2, pids
    assert machine.property('wazo-webhookd', 'MainPID') in pids
    for pid in pids:
        status = machine.run('cat', f'/proc/{pid}/status')
        assert re.search(r'^CapBnd:\s+0+$', status, re.MULTILINE), status
        assert re.search(r'^NoNewPrivs:\s+1$', status, re.MULTILINE), status
        assert re.search(r'^Seccomp:\s+2$', status, re.MULTILINE), status


def journal(stay: Stay) -> None:
    """log lines are in the log file, and in the journal with their level and origin as fields"""
    line = stay.machine.sh('journalctl -u wazo-webhookd -o json -q | grep "listens on" | tail -n 1')
    fields = json.loads(line)
    assert fields['PRIORITY'] == '6'
    assert fields['LOGGER'] == 'wazo_webhookd.controller'
    assert fields['SYSLOG_IDENTIFIER'] == 'wazo-webhookd'
    assert fields['_TRANSPORT'] == 'journal'
    assert 'listens on' in stay.machine.read('/var/log/wazo-webhookd.log')


def reload(stay: Stay) -> None:
    """systemctl reload takes on the log level; a rotated log file is written anew"""
    machine = stay.machine
    machine.write('/etc/wazo-webhookd/conf.d/10-log.yml', 'log_level: debug\n')
    machine.run('systemctl', 'reload', 'wazo-webhookd')
    until(lambda: stay.rest('GET', '/config')['log_level'] == 10, 10)
    machine.run('logrotate', '--force', '/etc/logrotate.d/wazo-webhookd')
    machine.run('systemctl', 'reload', 'wazo-webhookd')
    until(lambda: 'reading the configuration again' in machine.read('/var/log/wazo-webhookd.log'), 10)
    until(lambda: machine.property('wazo-webhookd', 'ActiveState') == 'active', 10)
    machine.path('/etc/wazo-webhookd/conf.d/10-log.yml').unlink()
    machine.run('systemctl', 'reload', 'wazo-webhookd')
    until(lambda: stay.rest('GET', '/config')['log_level'] == 20, 10)


def worker(stay: Stay) -> None:
    """a worker of its own, with nothing but the configuration, delivers instead of the daemon's"""
    machine = stay.machine
    machine.write('/etc/wazo-webhookd/conf.d/20-workers.yml', 'celery: {start_workers: false}\n')
    machine.run('systemctl', 'restart', 'wazo-webhookd')
    machine.run('systemctl', 'start', 'wazo-webhookd-worker@1')
    until(lambda: 'hands busy' in machine.property('wazo-webhookd-worker@1', 'StatusText'), 20)
    stay.subscribe('second', 'http', 'user_edited', _to('/second'))
    machine.run(*stay.publish('user_edited'))
    stay.wait_for('/second')
    machine.run('systemctl', 'reload', 'wazo-webhookd-worker@1')
    machine.run('systemctl', 'stop', 'wazo-webhookd-worker@1')
    assert machine.property('wazo-webhookd-worker@1', 'Result') == 'success'
    machine.path('/etc/wazo-webhookd/conf.d/20-workers.yml').unlink()
    machine.run('systemctl', 'restart', 'wazo-webhookd')
    stay.wait_until_all_is_well()


def hung(stay: Stay) -> str:
    """a daemon that hangs is ended by its watchdog and started again; so is one that was killed"""
    machine = stay.machine
    machine.write('/etc/systemd/system/wazo-webhookd.service.d/quick.conf', '[Service]\nWatchdogSec=20\n')
    machine.run('systemctl', 'daemon-reload')
    machine.run('systemctl', 'restart', 'wazo-webhookd')
    time.sleep(8)  # it is fed
    assert machine.property('wazo-webhookd', 'NRestarts') == '0'
    began = time.monotonic()
    machine.run('kill', '-STOP', machine.property('wazo-webhookd', 'MainPID'))
    until(lambda: machine.property('wazo-webhookd', 'NRestarts') == '1', 60, what='it is started again')
    seconds = time.monotonic() - began
    until(lambda: machine.property('wazo-webhookd', 'ActiveState') == 'active', 20)
    machine.run('kill', '-KILL', machine.property('wazo-webhookd', 'MainPID'))
    until(lambda: machine.property('wazo-webhookd', 'NRestarts') == '2', 60, what='it is started again')
    until(lambda: machine.property('wazo-webhookd', 'ActiveState') == 'active', 20)
    machine.path('/etc/systemd/system/wazo-webhookd.service.d/quick.conf').unlink()
    machine.run('systemctl', 'daemon-reload')
    stay.wait_until_all_is_well()
    return f'{seconds:.0f} s with a watchdog of 20 s'


def outage(stay: Stay) -> None:
    """events that come while the database is away are delivered when it is back; the service stays up"""
    machine = stay.machine
    machine.run('systemctl', 'stop', 'postgresql@15-main')
    machine.run(*stay.publish('user_created', 3))
    time.sleep(10)
    assert machine.property('wazo-webhookd', 'ActiveState') == 'active'
    assert machine.property('wazo-webhookd', 'NRestarts') == '2', 'the last step restarted it twice'
    machine.run('systemctl', 'start', 'postgresql@15-main')
    stay.wait_for('/first', 4, 60)
    stay.wait_until_all_is_well(60)


# -- guests -------------------------------------------------------------------------------------------


def guests(stay: Stay) -> None:
    """services of others deliver: one from a Debian package, one from pip; our libraries are ours"""
    machine = stay.machine
    stay.install(packages.guest(stay.folder))
    source = stay.bring(packages.pip_guest(stay.folder))
    machine.run('apt-get', 'install', '-qy', '--no-install-recommends', 'python3-pip', 'python3-wheel')
    pip = 'python3 -m pip install -q --break-system-packages --no-index --no-build-isolation --root-user-action=ignore'
    machine.sh(f'{pip} {source}')
    machine.write('/etc/wazo-webhookd/conf.d/30-guests.yml', 'enabled_services: {guestly: true, piped: true}\n')
    machine.run('systemctl', 'restart', 'wazo-webhookd')
    stay.wait_until_all_is_well()
    for name in ('guestly', 'piped'):
        uuid = stay.subscribe(name, name, f'for_{name}', {'path': f'/{name}'})
        machine.run(*stay.publish(f'for_{name}'))
        stay.wait_for(f'/{name}')
        log = until(lambda uuid=uuid: stay.rest('GET', f'/subscriptions/{uuid}/logs')['items'], 10)
        assert log[0]['status'] == 'success', log
        assert log[0]['detail']['library'].startswith('/opt/venvs/wazo-webhookd/'), log


# -- mistakes -----------------------------------------------------------------------------------------


def mistakes(stay: Stay) -> None:
    """every mistake is one readable line, with its exit code"""
    machine = stay.machine
    config = {'extra_config_files': '', 'uuid': WAZO_UUID, 'log_file': '', 'celery': {'start_workers': False}}
    other = {'rest_api': {'port': 9301}}
    no_key = {**other, 'auth': {'key_file': '/nowhere.yml'}}
    table: list[tuple[str, dict[str, Any], list[str], int, str]] = [
        ('an option that there is not', {}, ['--loud'], 2, 'unrecognized arguments: --loud'),
        ('a wrong value', {'rest_api': {'port': 'many'}}, [], 1, "rest_api.port: 'many': expected a whole number"),
        ('no uuid', {'uuid': ''}, [], 1, 'uuid: missing'),
        ('no such user', {'user': 'nobodyelse'}, [], 1, 'Unknown user nobodyelse'),
        ('no right to the log', {'log_file': '/var/log/other.log'}, [], 1, 'cannot open /var/log/other.log'),
        ('a taken port', {}, [], 4, 'cannot listen on 127.0.0.1, port 9300: Address already in use'),
        ('a full disk for the log', {**other, 'log_file': '/dev/full'}, [], 0, 'cannot write the log'),
        ('no key file', no_key, [], 0, '/nowhere.yml: cannot read'),
    ]  # fmt: skip
    for what, changes, arguments, code, line in table:
        machine.write('/srv/mistake.yml', json.dumps({**config, **changes}))
        command = ['timeout', '-s', 'TERM', '--preserve-status', '6', 'wazo-webhookd', '-c', '/srv/mistake.yml']
        done = machine.try_run(*command, *arguments, user='wazo-webhookd')
        assert done.returncode == code, f'{what}: {done.returncode}\n{done.stdout}'
        told = [text for text in done.stdout.splitlines() if line in text]
        assert len(told) == 1, f'{what}: {done.stdout}'
        assert 'Traceback' not in done.stdout, f'{what}: {done.stdout}'


def no_restart(stay: Stay) -> None:
    """a configuration that cannot be used is not tried over and over; mending it and starting is enough"""
    machine = stay.machine
    machine.write('/etc/wazo-webhookd/conf.d/10-wrong.yml', 'rest_api: {port: many}\n')
    machine.try_run('systemctl', 'restart', 'wazo-webhookd')
    time.sleep(7)
    assert machine.property('wazo-webhookd', 'ActiveState') == 'failed'
    assert machine.property('wazo-webhookd', 'ExecMainStatus') == '1'
    machine.path('/etc/wazo-webhookd/conf.d/10-wrong.yml').unlink()
    machine.run('systemctl', 'start', 'wazo-webhookd')
    stay.wait_until_all_is_well()


# -- upgrading and removing -----------------------------------------------------------------------------


def upgrade(stay: Stay) -> str:
    """an upgrade while events come in loses none, doubles none, keeps what was configured, and renews workers, too"""
    machine = stay.machine
    machine.run('systemctl', 'start', 'wazo-webhookd-worker@1')
    old = [machine.property(unit, 'MainPID') for unit in ('wazo-webhookd', 'wazo-webhookd-worker@1')]
    machine.write('/etc/wazo-webhookd/config.yml', machine.read('/etc/wazo-webhookd/config.yml') + '\nmine: 1\n')
    link = machine.path('/etc/nginx/locations/https-enabled/wazo-webhookd')
    link.unlink()
    stay.subscribe('stream', 'http', 'call_ended', _to('/stream'))
    events = 300
    publisher = machine.start(*stay.publish('call_ended', events, 0.05))
    said = stay.install(packages.next_release(stay.package, stay.folder), '-o', 'Dpkg::Options::=--force-confold')
    assert not [line for line in said.splitlines() if line.startswith('wazo-webhookd:')], said
    new = [machine.property(unit, 'MainPID') for unit in ('wazo-webhookd', 'wazo-webhookd-worker@1')]
    assert '0' not in new, new
    assert not set(old) & set(new), (old, new)
    assert publisher.wait(60) == 0
    requests = stay.wait_for('/stream', events, 60)
    time.sleep(2)
    numbers = [json.loads(request['body'])['number'] for request in requests]
    assert sorted(numbers) == list(range(events)), sorted(numbers)
    assert machine.run('dpkg-query', '-W', '-f', '${Version}', 'wazo-webhookd').endswith('+next')
    assert machine.read('/etc/wazo-webhookd/config.yml').endswith('mine: 1\n')
    assert not link.is_symlink()
    return f'{events} events'


def remove(stay: Stay) -> None:
    """remove leaves configuration, log, key file and database"""
    machine = stay.machine
    machine.run('apt-get', 'remove', '-qy', 'wazo-webhookd')
    assert not machine.try_run('pgrep', '-u', 'wazo-webhookd').stdout
    assert not machine.path('/opt/venvs/wazo-webhookd').exists()
    assert not machine.path('/usr/bin/wazo-webhookd').is_symlink()
    assert not machine.path('/usr/lib/python3/dist-packages/wazo_webhookd').exists()
    for path in ('/etc/wazo-webhookd/config.yml', '/var/log/wazo-webhookd.log', KEY_FILE):
        assert machine.path(path).exists(), path
    assert _count_subscriptions(machine) == len(stay.subscriptions)


def _count_subscriptions(machine: Machine) -> int:
    query = 'select count(*) from webhookd_subscription'
    return int(machine.run('psql', '-AtX', 'asterisk', '-c', query, user='postgres'))


def purge(stay: Stay) -> None:
    """purge leaves nothing of ours but the database, and what others made"""
    machine = stay.machine
    machine.sh('rm -f /etc/wazo-webhookd/conf.d/*.yml')
    machine.run('apt-get', 'purge', '-qy', 'wazo-webhookd')
    left = machine.sh(
        'find / -xdev -name "*webhookd*" -not -path "/proc/*" -not -path "/srv/*" -not -path "/var/cache/*" | sort'
    ).split()
    assert left == [KEY_FILE], left
    assert machine.try_run('getent', 'passwd', 'wazo-webhookd').returncode == 2
    assert _count_subscriptions(machine) == len(stay.subscriptions)


def succeed(stay: Stay) -> None:
    """over today's package: its configuration, database and log are kept, its program goes"""
    machine = stay.machine
    machine.run('dropdb', 'asterisk', user='postgres')
    machine.run('createdb', '-O', 'asterisk', 'asterisk', user='postgres')
    machine.run('psql', '-qX', '-v', 'ON_ERROR_STOP=1', 'asterisk', user='postgres', text=packages.old_database())
    stay.install(packages.todays(stay.folder, REPOSITORY / 'etc'))
    machine.write('/etc/wazo-webhookd/config.yml', 'log_level: warning\nhook_max_attempts: 7\n')
    machine.write('/etc/wazo-webhookd/conf.d/50-mine.yml', 'rest_api: {max_threads: 7}\n')
    machine.write('/var/log/wazo-webhookd.log', 'a line of old\n')
    machine.run('systemctl', 'set-environment', f'XIVO_UUID={WAZO_UUID}')
    machine.run('chgrp', 'wazo-webhookd', KEY_FILE)

    said = stay.install(stay.package, '-o', 'Dpkg::Options::=--force-confold')
    assert not [line for line in said.splitlines() if line.startswith('wazo-webhookd:')], said
    stay.wait_until_all_is_well()
    config = stay.rest('GET', '/config')
    assert (config['log_level'], config['hook_max_attempts'], config['rest_api']['max_threads']) == (30, 7, 7)
    assert machine.read('/var/log/wazo-webhookd.log').startswith('a line of old\n')
    assert 'of old' not in machine.read('/etc/logrotate.d/wazo-webhookd')
    assert machine.path('/etc/nginx/locations/https-enabled/wazo-webhookd').is_symlink()
    assert not machine.path('/usr/lib/python3/dist-packages/wazo_webhookd/controller.py').exists()
    assert not machine.path('/usr/lib/python3/dist-packages/wazo_webhookd-26.5.egg-info').exists()
    assert [item['name'] for item in stay.rest('GET', '/subscriptions?recurse=true')['items']] == ['of old']
    machine.run(*stay.publish('old_event'))
    stay.wait_for('/old')


STEPS: tuple[Step, ...] = (
    alone, files, commands, units, purger, waiting, healing, event, start_time, own_user, journal, reload, worker, hung,
    outage, guests, mistakes, no_restart, upgrade, remove, purge, succeed,
)  # fmt: skip
