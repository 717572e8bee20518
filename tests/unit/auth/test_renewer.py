import threading

import requests

from wazo_webhookd.auth import renewer as module
from wazo_webhookd.auth.renewer import TokenRenewer
from wazo_webhookd.status import Status


class FakeTokens:
    def __init__(self, client):
        self.client = client

    def new(self, **options):
        self.client.logins.append(options)
        answer = self.client.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def is_valid(self, token):
        if isinstance(self.client.valid, Exception):
            raise self.client.valid
        return self.client.valid


class FakeClient:
    timeout = 1
    base_url = 'http://auth.example.com:9497/0.1'

    def __init__(self, *answers):
        self.answers = list(answers)
        self.logins = []
        self.valid = True
        self.set = []
        self.token = FakeTokens(self)

    def set_token(self, token):
        self.set.append(token)


class Recorder(TokenRenewer):
    """Runs on the test's own thread; each wait is recorded and the last answer ends the run."""

    def __init__(self, client):
        super().__init__(client)
        self.waits = []
        renewer = self

        class Waiter(threading.Event):
            def wait(self, timeout=None):
                renewer.waits.append(timeout)
                if not client.answers:
                    renewer._stopping.set()
                return self.is_set()

        self._stopping = Waiter()
        self._wake = Waiter()


def token(name, **more):
    return {'token': name, 'session_uuid': f'session of {name}', 'metadata': {'tenant_uuid': 'master'}, **more}


def run(*answers):
    client = FakeClient(*answers)
    renewer = Recorder(client)
    renewer._run()
    return client, renewer


def test_a_token_is_renewed_at_four_fifths_of_its_life():
    client, renewer = run(token('one'), token('two'))

    assert client.logins == [{'expiration': 21600}] * 2
    assert renewer.waits == [17280, 17280]
    assert client.set == ['one', 'two']


def test_failures_are_repeated_ever_more_slowly(caplog):
    _, renewer = run(*[requests.ConnectionError('no')] * 7)

    assert renewer.waits == [1, 2, 4, 8, 16, 32, 32]
    assert 'http://auth.example.com:9497/0.1 (ConnectionError), trying again in 1 s' in caplog.messages[0]


def test_a_success_resets_the_delay():
    failure = requests.ConnectionError('no')
    _, renewer = run(failure, failure, token('one'), failure, token('two'))

    assert renewer.waits == [1, 2, 17280, 1, 17280]


def test_an_answer_without_token_is_a_failure():
    client, renewer = run({'metadata': {}})

    assert renewer.waits == [1]
    assert client.set == []


def test_subscribers_hear_every_token_or_the_next_only():
    client = FakeClient(token('one'), token('two'))
    renewer = Recorder(client)
    every, following, details = [], [], []
    renewer.subscribe_to_token_change(every.append)
    renewer.subscribe_to_next_token_change(following.append)
    renewer.subscribe_to_next_token_details_change(details.append)
    renewer._run()

    assert every == ['one', 'two']
    assert following == ['one']
    assert [given['token'] for given in details] == ['one']


def test_who_comes_late_is_told_the_token_there_is():
    _, renewer = run(token('one'))
    every, details = [], []
    renewer.subscribe_to_token_change(every.append)
    renewer.subscribe_to_token_details_change(details.append)

    assert every == ['one']
    assert details[0]['metadata'] == {'tenant_uuid': 'master'}


def test_a_callback_that_fails_keeps_nobody_from_the_news(caplog):
    client = FakeClient(token('one'))
    renewer = Recorder(client)
    every = []
    renewer.subscribe_to_token_change(lambda _: 1 / 0)
    renewer.subscribe_to_token_change(every.append)
    renewer._run()

    assert every == ['one']
    assert 'A callback for the service token failed' in caplog.text


def test_the_status_is_ok_while_wazo_auth_knows_the_token():
    _, renewer = run(token('one'))
    status = Status()
    renewer.provide_status(status)

    assert status == {'service_token': {'status': 'ok'}}


def test_a_token_that_wazo_auth_has_forgotten_is_renewed_at_once(monkeypatch):
    client, renewer = run(token('one'))
    monkeypatch.setattr(module, 'TRUST_SECONDS', -1)
    client.valid = False
    renewer._wake.clear()

    assert renewer.is_valid() is False
    assert renewer._wake.is_set()
    assert renewer.is_valid() is False


def test_a_token_cannot_be_valid_while_wazo_auth_is_away(monkeypatch):
    client, renewer = run(token('one'))
    monkeypatch.setattr(module, 'TRUST_SECONDS', -1)
    client.valid = requests.ConnectionError('no')
    assert renewer.is_valid() is False

    client.valid = True
    assert renewer.is_valid() is True


def test_the_end_of_our_own_session_is_noticed():
    _, renewer = run(token('one'))
    renewer._wake.clear()
    renewer.session_deleted('another session')
    assert not renewer._wake.is_set()

    renewer.session_deleted('session of one')
    assert renewer._wake.is_set()
    assert renewer.is_valid() is False


def test_the_log_names_the_status_but_no_secret(caplog):
    response = requests.Response()
    response.status_code = 401
    run(requests.HTTPError('password hunter2', response=response))

    assert 'status 401' in caplog.text
    assert 'hunter2' not in caplog.text
