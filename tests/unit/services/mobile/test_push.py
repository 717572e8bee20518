import json
import threading
from types import SimpleNamespace

import httpx
import pytest
import requests

from tests.unit.egress.fakes import settings
from wazo_webhookd.egress.client import EgressClient
from wazo_webhookd.services.helpers import HookExpectedError, HookRetry
from wazo_webhookd.services.mobile import fcm, plugin
from wazo_webhookd.services.mobile.account import Account, AuthAway, AuthRefused
from wazo_webhookd.services.mobile.http import PushClients
from wazo_webhookd.services.mobile.notification import Notification
from wazo_webhookd.services.mobile.push import NoApplication, Push

CALL = Notification('incomingCall', 'Incoming Call', 'From: 1001', {'peer_caller_id_number': '1001'})
CHAT = Notification('messageReceived', 'New Message', 'hello', data_only=True)
CONFIG = {
    'auth': {'host': 'nowhere'},
    'mobile_fcm_notification_end_point': 'https://fcm.proxy.example.com:443/fcm/send',
}
ANDROID = {'token': 'token-android', 'apns_token': None, 'apns_voip_token': None}
URI = 'https://oauth2.example.com/token'
APPLE = {'token': None, 'apns_voip_token': 'voip', 'apns_notification_token': 'note'}


class FakeAccounts:
    def __init__(self, answer):
        self._answer = answer

    def at(self, auth):
        return self

    def of(self, user_uuid):
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class Network:
    """Answers requests from a list and remembers them."""

    def __init__(self, *answers):
        self.requests = []
        self._answers = list(answers)
        self.transport = httpx.MockTransport(self._answer)

    def _answer(self, request):
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        status, body, headers = (*answer, {})[:3]
        return httpx.Response(status, json=body, headers=headers)

    def send(self, method, url, headers, body, *, role):
        """As the guarded client does."""
        assert role == 'admin'
        try:
            given = self._answer(httpx.Request(method, url, headers=headers, content=body))
        except httpx.ConnectError as error:
            raise requests.ConnectionError(str(error)) from error
        answer = requests.Response()
        answer.status_code, answer._content = given.status_code, given.content
        answer.headers.update(given.headers)
        return answer


def pushed(account, network, notification=CALL, config=CONFIG):
    push = Push(FakeAccounts(account), PushClients(network.transport))
    return push.send(config, 'user', notification, network)


# -- Google


def test_without_account_at_google_the_push_proxy_is_asked():
    network = Network((200, {'message_id': 'm', 'success': 1, 'failure': 0, 'multicast_id': 7}))
    detail = pushed(Account(ANDROID, {}, 'the-jwt'), network)

    assert detail == {
        'success': True,
        'protocol_used': 'fcm',
        'full_response': {
            'multicast_ids': [7],
            'success': 1,
            'failure': 0,
            'canonical_ids': 0,
            'results': [],
            'topic_message_id': 'm',
        },
    }
    (request,) = network.requests
    assert str(request.url) == 'https://fcm.proxy.example.com/fcm/send'
    assert request.headers['Authorization'] == 'key=the-jwt'
    assert json.loads(request.content)['data']['notification_type'] == 'incomingCall'


def test_an_api_key_goes_to_google():
    network = Network((200, {'message_id': 'm'}))
    pushed(Account(ANDROID, {'fcm_api_key': 'FCM_API_KEY'}, 'jwt'), network)

    (request,) = network.requests
    assert str(request.url) == 'https://fcm.googleapis.com/fcm/send'
    assert request.headers['Authorization'] == 'key=FCM_API_KEY'
    assert request.headers['Content-Type'] == 'application/json'


@pytest.mark.parametrize(
    ('endpoint', 'jwt', 'said'),
    [
        ('https://fcm.googleapis.com/v1/projects/{project_id}/messages:send', 'jwt', 'no push proxy'),
        ('https://proxy.example.com', '', 'gave no token'),
    ],
)
def test_a_proxy_that_is_not_configured_is_said_clearly(endpoint, jwt, said):
    config = {**CONFIG, 'mobile_fcm_notification_end_point': endpoint}
    with pytest.raises(HookExpectedError) as raised:
        pushed(Account(ANDROID, {}, jwt), Network((200, {})), config=config)

    assert said in raised.value.detail['error']


def test_a_failure_counted_by_google_is_told():
    network = Network((200, {'success': 0, 'failure': 1, 'results': [{'error': 'NotRegistered'}]}))
    detail = pushed(Account(ANDROID, {}, 'jwt'), network)

    assert detail['success'] is False
    assert detail['full_response']['results'] == [{'error': 'NotRegistered'}]


@pytest.mark.parametrize('status', [400, 401, 403, 404])
def test_a_refusal_by_the_proxy_is_final(status):
    with pytest.raises(HookExpectedError) as raised:
        pushed(Account(ANDROID, {}, 'jwt'), Network((status, {'why': 'not'})))

    assert raised.value.detail['response_status_code'] == status
    assert raised.value.detail['response_body'] == {'why': 'not'}


def test_a_busy_service_is_left_alone_for_as_long_as_it_says():
    with pytest.raises(HookRetry) as raised:
        pushed(Account(ANDROID, {}, 'jwt'), Network((503, {}, {'Retry-After': '120'})))

    assert raised.value.rest == 120


@pytest.mark.parametrize('tokens', [ANDROID, APPLE])
@pytest.mark.parametrize('trouble', [httpx.ConnectError('refused'), httpx.ReadTimeout('slow')])
def test_trouble_on_the_way_is_worth_another_attempt(tokens, trouble):
    with pytest.raises(HookRetry) as raised:
        pushed(Account(tokens, {}, 'jwt'), Network(trouble))

    assert raised.value.blame == 'endpoint'
    assert raised.value.detail['error']


def test_no_token_at_all_is_final():
    with pytest.raises(HookExpectedError) as raised:
        pushed(Account({'token': None}, {}, 'jwt'), Network((200, {})))

    assert raised.value.detail['error_id'] == 'notification-error'


@pytest.fixture(scope='module')
def service_account():
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return json.dumps(
        {
            'type': 'service_account',
            'project_id': 'project-123',
            'private_key_id': 'id',
            'private_key': pem,
            'client_email': 'robot@example.com',
            'token_uri': URI,
        }
    )


TOKEN = (200, {'access_token': 'valid-access-token', 'expires_in': 3600, 'token_type': 'Bearer'})


def test_a_service_account_speaks_v1_and_keeps_its_token(service_account):
    network = Network(TOKEN, (200, {'name': 'projects/project-123/messages/1'}))
    account = Account(ANDROID, {'fcm_service_account_info': service_account, 'fcm_api_key': 'unused'}, 'jwt')
    push = Push(FakeAccounts(account), PushClients(network.transport))
    detail = push.send(CONFIG, 'user', CALL, network)
    push.send(CONFIG, 'user', CALL, network)

    assert detail['full_response']['topic_message_id'] == 'projects/project-123/messages/1'
    assert detail['full_response']['results'] == [{'name': 'projects/project-123/messages/1'}]
    token, message, again = network.requests
    assert str(token.url) == 'https://oauth2.example.com/token'
    assert str(message.url) == 'https://fcm.googleapis.com/v1/projects/project-123/messages:send' == str(again.url)
    assert message.headers['Authorization'] == 'Bearer valid-access-token'
    sent = json.loads(message.content)['message']
    assert isinstance(sent['data']['items'], str)
    assert (sent['android']['priority'], sent['android']['ttl']) == ('high', '0s')


def test_an_unregistered_device_is_said(service_account):
    account = Account(ANDROID, {'fcm_service_account_info': service_account}, '')
    with pytest.raises(HookExpectedError) as raised:
        pushed(account, Network(TOKEN, (404, {'error': {'status': 'NOT_FOUND'}})))

    assert raised.value.detail['error_id'] == 'unregistered-device'


def test_a_refused_access_token_is_not_used_again(service_account):
    network = Network(TOKEN, (401, {}), TOKEN, (200, {'name': 'n'}))
    account = Account(ANDROID, {'fcm_service_account_info': service_account}, '')
    push = Push(FakeAccounts(account), PushClients(network.transport))
    with pytest.raises(HookRetry):
        push.send(CONFIG, 'user', CALL, network)

    assert push.send(CONFIG, 'user', CALL, network)['success']


@pytest.mark.parametrize(
    ('answer', 'kind'),
    [((400, {'error': 'invalid_grant'}), HookExpectedError), (httpx.ConnectError('refused'), HookRetry)],
)
def test_google_giving_no_token(service_account, answer, kind):
    with pytest.raises(kind) as raised:
        pushed(Account(ANDROID, {'fcm_service_account_info': service_account}, ''), Network(answer))

    assert 'Google' in raised.value.detail['error']


@pytest.mark.parametrize(
    ('uri', 'rule'),
    [
        ('http://169.254.169.254/latest', 'address: link-local'),
        ('http://metadata.google.internal/', 'name'),
        ('file:///etc/passwd', 'url-scheme'),
    ],
)
def test_where_tokens_come_from_is_judged(service_account, uri, rule):
    account = Account(ANDROID, {'fcm_service_account_info': service_account.replace(URI, uri)}, '')
    network = Network((200, {}))
    push = Push(FakeAccounts(account), PushClients(network.transport))
    with pytest.raises(HookExpectedError) as raised:
        push.send(CONFIG, 'user', CALL, EgressClient(settings()))

    assert raised.value.detail['rule'] == rule
    assert '169.254' not in raised.value.detail['error']
    assert network.requests == []


def test_an_account_whose_token_does_not_come_keeps_no_other_waiting(service_account, monkeypatch):
    asked, over = threading.Event(), threading.Event()

    class Slow:
        def send(self, *_, **__):
            asked.set()
            over.wait(10)
            raise requests.ReadTimeout

    tokens = fcm.AccessTokens()
    slow = threading.Thread(target=pytest.raises, args=(HookRetry, tokens.token, service_account, Slow()))
    slow.start()
    asked.wait(10)
    token, project = tokens.token(service_account.replace('robot', 'other'), Network(TOKEN))
    monkeypatch.setattr(fcm, 'TOKEN_SECONDS', 0.01)
    with pytest.raises(HookRetry, match='in time'):
        tokens.token(service_account, Network(TOKEN))
    over.set()
    slow.join(10)

    assert (token, project) == ('valid-access-token', 'project-123')


def test_a_service_account_that_is_none_is_said_without_its_content():
    with pytest.raises(HookExpectedError) as raised:
        pushed(Account(ANDROID, {'fcm_service_account_info': '{"private_key": "secret"}'}, ''), Network((200, {})))

    assert 'secret' not in str(raised.value.detail)


# -- Apple


def test_apple_is_asked_when_there_is_one_of_its_tokens():
    network = Network((200, None))
    detail = pushed(Account(APPLE, {}, 'jwt'), network)

    (request,) = network.requests
    assert str(request.url) == 'https://api.push.apple.com/3/device/voip'
    assert request.headers['User-Agent'] == 'wazo-webhookd'
    assert request.headers['Authorization'] == 'Bearer jwt'
    assert (detail['success'], detail['protocol_used']) == (True, 'apns')
    assert detail['full_response']['response_status_code'] == 200


@pytest.mark.parametrize(
    ('host', 'asked'),
    [('api.push.apple.com', 'api.sandbox.push.apple.com'), ('proxy.example.com', 'proxy.example.com')],
)
def test_the_sandbox_is_asked_for(host, asked):
    network = Network((200, None))
    config = {**CONFIG, 'mobile_apns_host': host, 'mobile_apns_port': 8443}
    pushed(Account(APPLE, {'use_sandbox': True}, ''), network, config=config)

    (request,) = network.requests
    assert str(request.url) == f'https://{asked}:8443/3/device/voip'
    assert request.headers['X-Use-Sandbox'] == '1'


def test_a_missing_notification_token_is_said():
    with pytest.raises(HookExpectedError) as raised:
        pushed(Account({'apns_token': 'token-ios', 'apns_notification_token': None}, {}, ''), Network((200, {})), CHAT)

    assert raised.value.detail['error_id'] == 'notification-error'
    assert 'apns_notification_token' in raised.value.detail['message']


def test_a_refusal_by_apple_is_tried_again_with_its_answer_kept():
    with pytest.raises(HookRetry) as raised:
        pushed(Account(APPLE, {}, ''), Network((400, {'reason': 'BadDeviceToken'})))

    assert raised.value.detail['response_body'] == {'reason': 'BadDeviceToken'}
    assert raised.value.detail['error_id'] == 'unregistered-device'


def test_a_device_that_is_gone_is_final():
    with pytest.raises(HookExpectedError) as raised:
        pushed(Account(APPLE, {}, ''), Network((410, {'reason': 'Unregistered'})))

    assert raised.value.detail['error_id'] == 'unregistered-device'


def test_a_certificate_that_is_none_is_said_without_its_content():
    push = {'ios_apn_certificate': 'secret', 'ios_apn_private': 'secret'}
    with pytest.raises(HookExpectedError) as raised:
        pushed(Account(APPLE, push, ''), Network((200, {})))

    assert 'ios_apn_certificate' in raised.value.detail['error']
    assert 'secret' not in str(raised.value.detail)


# -- wazo-auth


@pytest.mark.parametrize(
    ('trouble', 'kind'),
    [
        (AuthAway('away'), HookRetry),
        (AuthRefused('the application', 404), NoApplication),
        (AuthRefused('the user', 403), HookExpectedError),
    ],
)
def test_trouble_with_wazo_auth(trouble, kind):
    with pytest.raises(kind):
        pushed(trouble, Network((200, {})))


# -- the service


class Recorder:
    def __init__(self):
        self.sent = []

    def send(self, config, user_uuid, notification, http):
        assert http == 'http'
        self.sent.append((user_uuid, notification.type))
        return {'success': True}


@pytest.fixture
def recorder(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(plugin, 'push', recorder)
    return recorder


def test_an_event_is_pushed_to_the_user_of_the_subscription(recorder):
    event = {'name': 'call_push_notification', 'data': {'peer_caller_id_number': '1'}}

    task = SimpleNamespace(app=SimpleNamespace(runtime=SimpleNamespace(http='http')))
    assert plugin.Service.run(task, CONFIG, {'events_user_uuid': 'u'}, event) == {'success': True}
    assert recorder.sent == [('u', 'incomingCall')]


def test_what_need_not_be_told_says_why(recorder):
    detail = plugin.Service.run(None, CONFIG, {'events_user_uuid': 'u'}, {'name': 'other', 'data': {}})

    assert detail == {'skipped': 'event other has no push notification'}
    assert recorder.sent == []


@pytest.mark.parametrize(
    ('subscription', 'event'),
    [
        ({'events_user_uuid': None}, {'name': 'call_push_notification', 'data': {'peer_caller_id_number': '1'}}),
        ({'events_user_uuid': 'u'}, {'name': 'call_push_notification', 'data': {}}),
    ],
)
def test_what_cannot_be_told_is_final(recorder, subscription, event):
    with pytest.raises(HookExpectedError) as raised:
        plugin.Service.run(None, CONFIG, subscription, event)

    assert raised.value.detail['error']
