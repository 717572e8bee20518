import pytest
import requests

from wazo_webhookd.services.mobile.account import Account, Accounts, AuthAway, AuthRefused


def http_error(status):
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(response=response)


class FakeAuth:
    """wazo-auth, with what it answers to each question; an exception is raised."""

    def __init__(self):
        self.calls = []
        self.tokens = 0
        self.answers = {
            'external': {'token': 'android'},
            'user': {'tenant_uuid': 'tenant'},
            'config': {'fcm_api_key': 'key'},
        }
        self.good_tokens = None
        self.token = self.users = self.external = self
        self._token = None

    def set_token(self, token):
        self._token = token

    def new(self, backend, expiration):
        self.calls.append(('token', backend, expiration))
        answer = self.answers.get('token')
        if isinstance(answer, Exception):
            raise answer
        self.tokens += 1
        return {'token': f'token-{self.tokens}', 'metadata': {'jwt': f'jwt-{self.tokens}'}}

    def get(self, *question):
        kind = 'external' if question[0] == 'mobile' else 'user'
        return self._answer(kind, *question)

    def get_config(self, *question):
        return self._answer('config', *question)

    def _answer(self, kind, *question):
        self.calls.append((kind, *question))
        if self.good_tokens is not None and self._token not in self.good_tokens:
            raise http_error(401)
        answer = self.answers[kind]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def auth():
    return FakeAuth()


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def accounts(auth, now):
    return Accounts(auth, clock=lambda: now[0])


def test_an_account_takes_four_calls_and_the_next_one_three(accounts, auth):
    first = accounts.of('u')
    second = accounts.of('u')

    assert first == second == Account({'token': 'android'}, {'fcm_api_key': 'key'}, 'jwt-1')
    questions = [('external', 'mobile', 'u'), ('user', 'u'), ('config', 'mobile', 'tenant')]
    assert auth.calls == [('token', 'wazo_user', 3600), *questions, *questions]


def test_the_token_is_replaced_before_it_ends(accounts, auth, now):
    accounts.of('u')
    now[0] = 3599.0

    assert accounts.of('u').jwt == 'jwt-2'


def test_a_token_that_ended_early_is_replaced_once(accounts, auth):
    accounts.of('u')
    auth.good_tokens = {'token-2'}

    assert accounts.of('u').jwt == 'jwt-2'

    auth.good_tokens = set()
    with pytest.raises(AuthAway, match='401'):
        accounts.of('u')


def test_no_push_configuration_is_an_empty_one(accounts, auth):
    auth.answers['config'] = http_error(404)

    assert accounts.of('u').push == {}


@pytest.mark.parametrize('question', ['external', 'user', 'config', 'token'])
@pytest.mark.parametrize(
    'trouble', [http_error(500), http_error(503), requests.ConnectionError('url with secrets'), requests.Timeout()]
)
def test_trouble_of_wazo_auth_is_worth_another_attempt(accounts, auth, question, trouble):
    auth.answers[question] = trouble

    with pytest.raises(AuthAway) as raised:
        accounts.of('u')
    assert 'secrets' not in str(raised.value)


@pytest.mark.parametrize(('question', 'status'), [('external', 404), ('user', 404), ('config', 403), ('external', 400)])
def test_a_refusal_is_final(accounts, auth, question, status):
    auth.answers[question] = http_error(status)

    with pytest.raises(AuthRefused) as raised:
        accounts.of('u')
    assert raised.value.status == status


def test_a_token_without_jwt_will_do(accounts, auth):
    auth.new = lambda backend, expiration: {'token': 't', 'metadata': None}

    assert accounts.of('u').jwt == ''
