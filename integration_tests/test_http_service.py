"""What today's users rely on of the service http (reference, delivery 5.8), point by point, over the real bus."""

from __future__ import annotations

import itertools
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests

from integration_tests.attackers import behaviours
from integration_tests.attackers.certificates import Authority
from integration_tests.attackers.server import Attacker
from integration_tests.support.auth_double import AuthDouble
from integration_tests.support.bus import WAZO_UUID, event
from integration_tests.support.receiver import Answer, Received, Receiver
from integration_tests.support.servers import Postgres, Rabbit
from integration_tests.support.site import Daemon, Rest, Site
from integration_tests.support.until import for_a_while, until

FOREIGN = '11111111-2222-4333-8444-555555555555'


class Third:
    """A running daemon, and one third party at a path of its own; names of events are its own, too."""

    def __init__(self, site: Site, daemon: Daemon) -> None:
        self.site, self.daemon, self.rest = site, daemon, daemon.rest
        unique = uuid.uuid4().hex[:8]
        self.path, self.trigger = f'/{unique}', f'trigger_{unique}'

    def url(self, more: str = '') -> str:
        return self.site.receiver.url(self.path + more)

    def subscribe(self, url: str = '', *, tenant: str | None = None, **more: Any) -> str:
        config = {'url': url or self.url(), 'method': 'get', **more.pop('config', {})}
        wish = {'name': 'test', 'service': 'http', 'events': [self.trigger], 'config': config, **more}
        return str(self.rest.create(wish, tenant=tenant)['uuid'])

    def answers(self, *statuses: int, always: int = 200) -> None:
        self.site.receiver.answer(self.path, *map(Answer, statuses), always=Answer(always))

    def hears(self, data: Any = None, *, name: str | None = None, **more: Any) -> None:
        self.site.bus.publish(name or self.trigger, data, **more)

    def requests(self, number: int, more: str = '') -> list[Received]:
        return self.site.receiver.wait_for(number, self.path + more)

    def exactly(self, number: int, seconds: float = 0.5) -> None:
        """So many requests came, and there come no more."""
        self.requests(number)
        for_a_while(lambda: len(self.site.receiver.at(self.path)) == number, seconds, what='no request too many')

    def rows(self, subscription: str, number: int, **query: Any) -> list[dict[str, Any]]:
        """The log once it has so many rows, oldest first."""

        def there() -> list[dict[str, Any]] | None:
            found = self.rest.logs(subscription, **{'order': 'started_at', 'direction': 'asc', **query})
            return found if len(found) >= number else None

        rows = until(there, what=f'{number} log rows')
        assert rows is not None
        assert len(rows) == number
        return rows


@pytest.fixture(scope='module')
def running(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, template: str, rabbit: Rabbit, vhost: str
) -> Iterator[tuple[Site, Daemon]]:
    """One daemon for all; it tries five times, a second apart, as the reference's own tests do."""
    database = postgres.create_database(template=template)
    auth = AuthDouble(wazo_uuid=WAZO_UUID)
    auth.start()
    with Receiver() as receiver:
        site = Site(tmp_path_factory.mktemp('http'), postgres, database, rabbit, vhost, auth, receiver)
        site.bus.declare_exchange()
        site.configure(hook_max_attempts=5, hook_http_retry_countdown_factor=1, celery={'processes': 1})
        yield site, site.daemon().ready()
        site.clean_up()
        for queue in (site.queue, site.tasks_queue):
            site.bus.delete_queue(queue)
        site.bus.close()
    auth.stop()
    postgres.drop_database(database)


@pytest.fixture
def third(running: tuple[Site, Daemon]) -> Third:
    return Third(*running)


# -- one event, one request, one row ---------------------------------------------------------------


def test_an_event_makes_one_get_and_one_row(third: Third) -> None:
    subscription = third.subscribe()
    third.hears()
    third.exactly(1)
    (row,) = third.rows(subscription, 1)

    assert third.requests(1)[0].method == 'GET'
    assert (row['status'], row['attempts'], row['max_attempts']) == ('success', 1, 5)


def test_a_json_answer_is_decoded_in_the_row(third: Third) -> None:
    third.site.receiver.answer(third.path, always=Answer(body=b'{"answered": ["yes", 1]}'))
    subscription = third.subscribe()
    third.hears()
    (row,) = third.rows(subscription, 1)

    assert row['detail']['response_body'] == {'answered': ['yes', 1]}
    assert row['detail']['response_status_code'] == 200


def test_gone_is_final(third: Third) -> None:
    third.answers(always=410)
    subscription = third.subscribe()
    third.hears()
    (row,) = third.rows(subscription, 1)
    third.exactly(1, 2)

    assert (row['status'], row['attempts']) == ('error', 1)
    assert 'Gone' in row['detail']['error']
    assert len(third.rows(subscription, 1)) == 1


def test_a_failure_is_tried_again_and_both_attempts_are_shown(third: Third) -> None:
    third.answers(503)
    subscription = third.subscribe(third.url('?test=value'))
    third.hears()
    first, second = third.rows(subscription, 2)
    third.exactly(2)

    assert (first['status'], first['attempts']) == ('failure', 1)
    assert 'Service Unavailable' in first['detail']['error']
    assert (second['status'], second['attempts']) == ('success', 2)
    assert second['uuid'] == first['uuid']
    for row in (first, second):
        assert row['detail']['request_method'] == 'GET'
        assert row['detail']['request_url'] == third.url('?test=value')
    began = [time.mktime(time.strptime(row['started_at'][:19], '%Y-%m-%dT%H:%M:%S')) for row in (first, second)]
    assert 0 <= began[1] - began[0] <= 3


def test_an_endpoint_that_never_answers_well_gets_exactly_all_attempts(third: Third) -> None:
    third.answers(always=404)
    subscription = third.subscribe()
    third.hears()
    rows = third.rows(subscription, 5, direction='desc')
    third.exactly(5, 3)

    assert [row['status'] for row in rows] == ['error', 'failure', 'failure', 'failure', 'failure']
    assert [row['attempts'] for row in rows] == [5, 4, 3, 2, 1]


# -- changes -----------------------------------------------------------------------------------------


def change(third: Third, subscription: str, **changes: Any) -> None:
    present = third.rest.get(f'/subscriptions/{subscription}')
    wish = {key: present[key] for key in ('name', 'service', 'events', 'config')} | changes
    answer = third.rest.call('PUT', f'/subscriptions/{subscription}', wish)
    assert answer.status_code == 200, answer.text


def test_a_changed_list_of_events_counts_at_once(third: Third) -> None:
    subscription = third.subscribe()
    change(third, subscription, events=[f'{third.trigger}_other'])
    third.hears()
    third.hears(name=f'{third.trigger}_other')
    third.exactly(1)

    assert third.rows(subscription, 1)[0]['event']['name'] == f'{third.trigger}_other'


def test_a_changed_url_leaves_the_identical_subscription_alone(third: Third) -> None:
    subscription, _ = third.subscribe(), third.subscribe()
    change(third, subscription, config={'url': third.url('/changed'), 'method': 'get'})
    third.hears()
    third.requests(1, '/changed')
    third.exactly(1)

    assert len(third.requests(1, '/changed')) == 1


def test_a_deleted_subscription_leaves_the_identical_one_alone(third: Third) -> None:
    subscription, _ = third.subscribe(), third.subscribe()
    assert third.rest.call('DELETE', f'/subscriptions/{subscription}').status_code == 204
    third.hears()

    third.exactly(1)


def test_a_retry_is_sent_with_the_subscription_as_it_is_then(third: Third) -> None:
    third.answers(503)
    subscription = third.subscribe()
    third.hears({'n': 1})
    third.rows(subscription, 1)
    change(third, subscription, config={'url': third.url('/then'), 'method': 'post', 'body': 'then'})
    (request,) = third.requests(1, '/then')
    rows = third.rows(subscription, 2)

    assert (request.method, request.text) == ('POST', 'then')
    assert [row['status'] for row in rows] == ['failure', 'success']
    third.exactly(1)


def test_what_is_on_its_way_when_a_subscription_is_deleted_leaves_no_row(third: Third) -> None:
    third.site.receiver.answer(third.path, Answer(503, delay=0.7), Answer(200, delay=0.7))
    gone, stays = third.subscribe(), third.subscribe(third.url('/stays'))
    third.hears({'n': 1})
    third.hears({'n': 2})
    third.requests(1)
    assert third.rest.call('DELETE', f'/subscriptions/{gone}').status_code == 204
    third.rows(stays, 2)
    rows = 'SELECT state, reason FROM webhookd_delivery WHERE subscription_uuid = %s'
    until(lambda: {state for state, _ in third.site.query(rows, gone)} <= {'success', 'cancelled'}, what='all ended')

    assert third.site.query('SELECT 1 FROM webhookd_subscription_log WHERE subscription_uuid = %s', gone) == []
    assert third.rest.call('GET', f'/subscriptions/{gone}/logs').status_code == 404
    third.hears({'n': 3})
    third.rows(stays, 3)
    assert ('cancelled', 'subscription deleted') in third.site.query(rows, gone)


def test_no_event_is_missed_or_doubled_while_a_subscription_changes(third: Third) -> None:
    subscription = third.subscribe(config={'method': 'post'})
    stop = threading.Event()

    def change_all_the_time() -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            events = [third.trigger, f'other_{number % 3}']
            change(third, subscription, events=events, events_wazo_uuid=(None, WAZO_UUID)[number % 2])

    changing = threading.Thread(target=change_all_the_time)
    changing.start()
    for number in range(200):
        third.hears({'n': number})
    stop.set()
    changing.join()
    third.exactly(200)

    assert sorted(json.loads(request.body)['n'] for request in third.requests(200)) == list(range(200))


def test_subscriptions_created_and_deleted_in_parallel_all_count(third: Third) -> None:
    def create(number: int) -> str:
        rest = Rest(third.rest.base, third.rest.token)
        wish = {'name': 'x', 'service': 'http', 'events': [f'{third.trigger}_{number}']}
        wish['config'] = {'url': third.url(f'/{number}'), 'method': 'post'}
        made = [str(rest.create(wish)['uuid']) for _ in range(3)]
        for unwanted in made[1:]:
            assert rest.call('DELETE', f'/subscriptions/{unwanted}').status_code == 204
        rest.close()
        return made[0]

    began = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        made = list(pool.map(create, range(40)))
    seconds = time.monotonic() - began
    for number in range(40):
        third.hears(name=f'{third.trigger}_{number}')
    for number in range(40):
        third.requests(1, f'/{number}')

    assert len(set(made)) == 40
    assert seconds < 20
    for_a_while(lambda: all(len(third.requests(1, f'/{number}')) == 1 for number in range(40)), 0.5)


# -- what is sent ------------------------------------------------------------------------------------


def test_path_and_query_are_rendered_from_the_data(third: Third) -> None:
    third.subscribe(third.url('/{{ event["variable"] }}?{{ event|urlencode }}'))
    third.hears({'variable': 'value', 'another_variable': 'another value'})
    (request,) = third.requests(1, '/value')

    assert parse_qs(request.query) == {'variable': ['value'], 'another_variable': ['another value']}


def test_without_body_the_data_is_sent_in_ascii_even_with_get(third: Third) -> None:
    third.subscribe(config={'content_type': 'ignored/ignored'})
    third.hears({'keý': 'vàlue'})
    (request,) = third.requests(1)

    assert request.body == b'{"ke\\u00fd": "v\\u00e0lue"}'
    assert request.headers['content-type'] == 'application/json; charset=utf-8'


def test_a_literal_body_is_sent_as_it_is(third: Third) -> None:
    third.subscribe(config={'body': 'keý: vàlue'})
    third.hears({'a': 1})
    (request,) = third.requests(1)

    assert request.body == 'keý: vàlue'.encode()
    assert request.headers['content-type'] == 'text/plain; charset=utf-8'


def test_a_rendered_body_is_sent_and_shown(third: Third) -> None:
    subscription = third.subscribe(config={'body': '{{ event_name }} {{ event["variable"] }} {{ wazo_uuid }}'})
    third.hears({'variable': 'välue'})
    (request,) = third.requests(1)

    assert request.text == f'{third.trigger} välue {WAZO_UUID}'
    assert third.rows(subscription, 1)[0]['detail']['request_body'] == request.text


def test_a_template_that_reaches_out_makes_no_request(third: Third) -> None:
    subscription = third.subscribe(config={'body': '{{ lipsum.__globals__.os.popen("id").read() }}'})
    third.hears()
    (row,) = third.rows(subscription, 1)
    for_a_while(lambda: not third.site.receiver.at(third.path), 1.5, what='no request')

    assert (row['status'], row['attempts']) == ('error', 1)
    assert '__globals__' in row['detail']['error']


def test_a_self_signed_certificate_passes_if_the_subscription_says_so(third: Third, tmp_path: Path) -> None:
    tls = Authority(tmp_path).server('127.0.0.1')
    with Attacker(behaviours.honest, tls) as attacker:
        trusting = third.subscribe(attacker.url, config={'verify_certificate': 'false'})
        checking = third.subscribe(attacker.url, config={'verify_certificate': 'true'})
        named = third.subscribe(attacker.url, config={'verify_certificate': str(tmp_path / 'authority.pem')})
        third.hears()
        (row,) = third.rows(trusting, 1)
        assert third.rows(named, 1)[0]['status'] == 'success'
        failed = until(lambda: third.rest.logs(checking))[0]

        assert row['status'] == 'success'
        assert failed['status'] == 'failure'
        assert 'certificate' in failed['detail']['error'].lower()
        assert len(attacker.requests) == 2


@pytest.mark.parametrize(
    ('configured', 'sent', 'charset'),
    [
        ('text/yaml; charset=utf-8', 'text/yaml; charset=utf-8', 'utf-8'),
        ('text/yaml; charset', 'text/yaml; charset=utf-8', 'utf-8'),
        ('text/plain;charset="utf-16"', 'text/plain; charset=utf-16', 'utf-16'),
        ('TEXT/PLAIN; Charset=UTF-8', 'text/plain; charset=UTF-8', 'utf-8'),
        ('garbage', 'text/plain; charset=utf-8', 'utf-8'),
        ('', 'text/plain; charset=utf-8', 'utf-8'),
        ('text/html; charset', 'text/html; charset=utf-8', 'utf-8'),
        ('text/html; a=b; charset=latin-1', 'text/html; a=b; charset=latin-1', 'latin-1'),
    ],
)
def test_the_content_type_decides_how_the_body_is_written(
    third: Third, configured: str, sent: str, charset: str
) -> None:
    subscription = third.subscribe(config={'body': 'keý: vàlue', 'method': 'post', 'content_type': configured})
    third.hears()
    (request,) = third.requests(1)

    assert request.headers['content-type'] == sent
    assert request.body == 'keý: vàlue'.encode(charset)
    (row,) = third.rows(subscription, 1)
    assert (row['status'], row['detail']['request_body']) == ('success', 'keý: vàlue')


@pytest.mark.parametrize(
    ('config', 'error'),
    [
        ({'body': 'x', 'content_type': 'text/plain; charset=nope'}, 'unknown encoding: nope'),
        ({'body': 'ý€', 'content_type': 'text/plain; charset=ascii'}, "'ascii' codec can't encode"),
        ({'body': '{{ event.a.b.c }}'}, "'dict object' has no attribute 'a'"),
        ({'body': '{{ event'}, 'unexpected end of template'),
        ({'url': 'ftp://127.0.0.1/'}, 'scheme'),
        ({'url': 'no-scheme'}, 'scheme'),
    ],
)
def test_what_cannot_be_sent_is_an_error_without_another_attempt(
    third: Third, config: dict[str, str], error: str
) -> None:
    subscription = third.subscribe(config=config)
    third.hears()
    (row,) = third.rows(subscription, 1)
    for_a_while(lambda: len(third.rest.logs(subscription)) == 1, 1.5)

    assert (row['status'], row['attempts']) == ('error', 1)
    assert error in row['detail']['error']
    assert third.site.receiver.at(third.path) == []


@pytest.mark.parametrize('key', ['data', 'origin_uuid', 'name'])
def test_an_event_without_what_templates_name_is_an_error(third: Third, key: str) -> None:
    subscription = third.subscribe()
    headers = event(third.trigger)
    body = {**headers, 'data': {}}
    del body[key]
    third.site.bus.publish_raw(json.dumps(body), headers)
    (row,) = third.rows(subscription, 1)

    assert (row['status'], row['attempts']) == ('error', 1)
    assert repr(key) in row['detail']['error']
    assert row['event'] == body


@pytest.mark.parametrize('status', [200, 201, 204, 304])
def test_statuses_that_count_as_success(third: Third, status: int) -> None:
    third.answers(always=status)
    subscription = third.subscribe(config={'method': 'head' if status == 304 else 'post'})
    third.hears()

    assert third.rows(subscription, 1)[0]['status'] == 'success'


def test_a_redirect_is_a_failed_attempt_that_is_not_followed(third: Third) -> None:
    elsewhere = third.url('/elsewhere')
    third.site.receiver.answer(third.path, Answer(302, {'Location': elsewhere}))
    subscription = third.subscribe()
    third.hears()
    first, second = third.rows(subscription, 2)

    assert (first['status'], second['status']) == ('failure', 'success')
    assert elsewhere in first['detail']['error']
    assert third.site.receiver.at(f'{third.path}/elsewhere') == []


# -- who hears what ------------------------------------------------------------------------------------


def test_a_user_filter_asks_for_exactly_that_user(third: Third) -> None:
    user, other = str(uuid.uuid4()), str(uuid.uuid4())
    third.subscribe(events_user_uuid=user)
    third.hears({'n': 1}, users=(other,))
    third.hears({'n': 2}, users=(f'{user}-suffix',))
    third.hears({'n': 3}, users=('*',))
    third.hears({'n': 4})
    third.site.bus.publish_raw(json.dumps({**event(third.trigger, users=(user,)), 'data': {'n': 5}}), {})
    third.hears({'n': 6}, users=(user,))
    third.hears({'n': 7}, users=(other, user))
    third.exactly(2)

    assert sorted(json.loads(request.body)['n'] for request in third.requests(2)) == [6, 7]


def test_a_wish_for_global_voicemail_asks_for_everybody(third: Third) -> None:
    user = str(uuid.uuid4())
    name = 'global_voicemail_message_created'
    third.subscribe(events_user_uuid=user, events=[third.trigger, name])
    third.hears({'n': 1}, name=name, users=(user,))
    third.hears({'n': 2}, name=name, users=('*',))
    third.hears({'n': 3}, users=('*',))
    third.hears({'n': 4}, users=(user,))
    third.exactly(2)

    assert sorted(json.loads(request.body)['n'] for request in third.requests(2)) == [2, 4]


@pytest.mark.parametrize('host', ['127.0.0.1', 'localhost', '[::1]', '0.0.0.0', '127.1', '2130706433'])
def test_a_subscription_of_a_user_never_reaches_this_machine(third: Third, host: str) -> None:
    port = third.site.receiver.port
    mine = third.subscribe(
        f'http://{host}:{port}{third.path}/mine', owner_user_uuid=str(uuid.uuid4()), config={'method': 'post'}
    )
    third.subscribe()
    third.hears()
    third.requests(1)
    (row,) = third.rows(mine, 1)
    for_a_while(lambda: not third.site.receiver.at(f'{third.path}/mine'), 0.3)

    assert (row['status'], row['attempts']) == ('error', 1)
    assert row['detail']['error'].startswith('refused')


def test_events_about_a_user_may_be_sent_to_this_machine(third: Third) -> None:
    user = str(uuid.uuid4())
    third.subscribe(events_user_uuid=user)
    third.hears(users=(user,))

    third.exactly(1)


def test_a_server_filter_asks_for_exactly_that_server(third: Third) -> None:
    third.subscribe(events_wazo_uuid=FOREIGN)
    third.hears({'n': 1})
    third.hears({'n': 2}, origin_uuid=f'{FOREIGN}-suffix')
    third.site.bus.publish_raw(json.dumps({'name': third.trigger, 'origin_uuid': FOREIGN, 'data': {'n': 3}}), {})
    without = {key: value for key, value in event(third.trigger).items() if key != 'origin_uuid'}
    third.site.bus.publish_raw(json.dumps({**without, 'origin_uuid': FOREIGN, 'data': {'n': 4}}), without)
    third.hears({'n': 5}, origin_uuid=FOREIGN)
    third.exactly(1)

    assert [json.loads(request.body)['n'] for request in third.requests(1)] == [5]


def test_a_tenant_hears_its_own_events_only(third: Third) -> None:
    one, other = (third.site.auth.add_tenant() for _ in range(2))
    third.subscribe(third.url('/one'), tenant=one)
    third.subscribe(third.url('/other'), tenant=other)
    third.hears({'n': 1}, tenant=one)
    third.requests(1, '/one')
    for_a_while(lambda: not third.site.receiver.at(f'{third.path}/other'), 0.5)


def test_events_of_no_tenant_are_for_the_master_tenant(third: Third) -> None:
    third.subscribe()
    third.subscribe(third.url('/tenant'), tenant=third.site.auth.add_tenant())
    third.hears()
    third.exactly(1)

    assert third.site.receiver.at(f'{third.path}/tenant') == []


def test_the_master_tenant_hears_all(third: Third) -> None:
    tenants = [third.site.auth.add_tenant() for _ in range(2)]
    third.subscribe()
    for tenant in (*tenants, None, third.site.auth.add_tenant(tenants[0])):
        third.hears(tenant=tenant)

    third.exactly(4)


def test_the_header_names_the_event_and_the_body_what_is_sent(third: Third) -> None:
    subscription = third.subscribe(config={'body': '{{ event_name }}'})
    headers = event(third.trigger)
    third.site.bus.publish_raw(json.dumps({**headers, 'name': 'name_of_the_body', 'data': {}}), headers)
    (request,) = third.requests(1)

    assert request.text == 'name_of_the_body'
    assert third.rows(subscription, 1)[0]['event']['name'] == 'name_of_the_body'


def test_a_minimal_event_is_enough(third: Third) -> None:
    third.subscribe()
    body = {'name': third.trigger, 'data': {'n': 1}, 'origin_uuid': 'x'}
    third.site.bus.publish_raw(json.dumps(body), {'name': third.trigger})
    (request,) = third.requests(1)

    assert json.loads(request.body) == {'n': 1}


def test_a_json_body_is_understood_whatever_its_content_type(third: Third) -> None:
    third.subscribe()
    headers = event(third.trigger)
    for content_type in ('text/plain', None):
        third.site.bus.publish_raw(json.dumps({**headers, 'data': 1}), headers, content_type=content_type)

    third.exactly(2)


# -- the log -------------------------------------------------------------------------------------------


def test_the_log_of_two_deliveries_in_every_order(third: Third) -> None:
    third.answers(503, 503, 200, 503, 200)
    subscription = third.subscribe()
    third.hears({'n': 1})
    third.rows(subscription, 3)
    third.hears({'n': 2})
    rows = third.rows(subscription, 5)

    def asked(**query: Any) -> list[dict[str, Any]]:
        answer = third.rest.get(f'/subscriptions/{subscription}/logs', params=query)
        assert answer['total'] == len(answer['items'])
        items: list[dict[str, Any]] = answer['items']
        return items

    newest_first = rows[::-1]
    words: Callable[[list[dict[str, Any]]], list[tuple[str, int]]]
    words = lambda found: [(row['status'], row['attempts']) for row in found]  # noqa: E731
    assert words(rows) == [('failure', 1), ('failure', 2), ('success', 3), ('failure', 1), ('success', 2)]
    assert asked() == newest_first
    assert asked(direction='asc') == rows
    assert asked(limit=2) == newest_first[:2]
    assert asked(offset=2) == newest_first[2:]
    assert asked(limit=2, offset=1, direction='asc') == rows[1:3]
    assert asked(from_date=rows[2]['started_at']) == newest_first[:3]
    by_status = [row['status'] for row in asked(order='status', direction='asc')]
    assert by_status == ['success'] * 2 + ['failure'] * 3  # the order of the database's type


def test_the_log_for_operators_has_no_content(third: Third) -> None:
    third.answers(503)
    good = third.subscribe(config={'body': '{{ event.secret }} of the body'})
    bad = third.subscribe(config={'body': '{{ event.secret.a.b }}'})
    third.hears({'secret': 'something personal'})
    third.rows(good, 2)
    (row,) = third.rows(bad, 1)
    told = [line for line in third.daemon.output.splitlines() if f'delivery={row["uuid"]} ' in line]

    assert len(told) == 1, 'one wide line per attempt'
    assert 'attempt=1/5' in told[0]
    for content in ('something personal', 'of the body', third.path):
        assert content not in third.daemon.output


# -- restarts --------------------------------------------------------------------------------------------


def test_a_stored_subscription_triggers_after_a_restart(site: Site) -> None:
    daemon = site.daemon().ready()
    daemon.rest.subscribe(site.receiver.url('/x'), ['a'])
    assert daemon.stop() == 0
    site.daemon('again').ready()
    site.bus.publish('a')
    site.receiver.wait_for(1, '/x')

    for_a_while(lambda: len(site.receiver.requests) == 1, 0.5)


@pytest.mark.timeout(180)
def test_a_subscription_triggers_after_a_restart_of_rabbitmq(private_site: Site) -> None:
    site = private_site
    daemon = site.daemon().ready()
    daemon.rest.subscribe(site.receiver.url('/x'), ['a'])
    site.rabbit.restart()
    until(daemon.all_ok, 30, what='all is well again', catching=requests.RequestException)
    site.bus.publish('a')
    site.receiver.wait_for(1, '/x')

    for_a_while(lambda: len(site.receiver.requests) == 1, 0.5)
