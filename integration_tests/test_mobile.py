"""Push notifications with the real daemon, a push proxy, and a stand-in for Apple's HTTP/2 service."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from integration_tests.support.apple import Apple, Certificates
from integration_tests.support.receiver import Answer
from integration_tests.support.site import Daemon, Site
from integration_tests.support.until import until

CALL = {
    'peer_caller_id_number': '1001',
    'peer_caller_id_name': 'Alice',
    'mobile_wakeup_timestamp': '2026-01-01T00:00:00',
}
ACCEPTED = Answer(body=json.dumps({'message_id': 'message-id', 'success': 1, 'failure': 0}).encode())
NO_TOKENS = dict.fromkeys(('token', 'apns_token', 'apns_voip_token', 'apns_notification_token'))


class MobileUser:
    """A user of a tenant with a mobile application, and the subscription that the daemon keeps for it."""

    def __init__(
        self, site: Site, daemon: Daemon, tokens: dict[str, Any], config: dict[str, Any] | None = None
    ) -> None:
        self._site, self.daemon = site, daemon
        self.tenant = site.auth.add_tenant()
        self.uuid = site.auth.add_user(self.tenant)
        site.auth.external[(self.uuid, 'mobile')] = {**NO_TOKENS, **tokens}
        if config is not None:
            site.auth.external_config[(self.tenant, 'mobile')] = config
        self.tell('added')
        self.subscription: str = until(self.subscriptions, what='the subscription of the user')[0]['uuid']

    def tell(self, what: str) -> None:
        """wazo-auth says so on the bus."""
        data = {'user_uuid': self.uuid, 'external_auth_name': 'mobile'}
        self._site.bus.publish(f'auth_user_external_auth_{what}', data, tenant=self.tenant)

    def subscriptions(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.daemon.rest.get('/subscriptions', params={'recurse': 'true'})['items']
        return [item for item in items if item['owner_user_uuid'] == self.uuid]

    def hears(self, name: str, data: Any, *, body_name: str | None = None) -> None:
        """An event of this user's (or for everybody, as global voicemail is) on the bus."""
        users = ('*',) if name.startswith('global') else (self.uuid,)
        headers = {'name': name, 'tenant_uuid': self.tenant, f'user_uuid:{users[0]}': True, 'origin_uuid': 'o'}
        body = {**headers, 'name': body_name or name, 'data': data}
        self._site.bus.publish_raw(json.dumps(body), headers)

    def logs(self, number: int = 1) -> list[dict[str, Any]]:
        """The attempts, oldest first, once there are so many."""

        def rows() -> list[dict[str, Any]] | None:
            found = self.daemon.rest.logs(self.subscription, order='started_at', direction='asc')
            return found if len(found) >= number else None

        found = until(rows, what=f'{number} attempts')
        assert found is not None
        return found


@pytest.fixture
def daemon(site: Site) -> Daemon:
    site.receiver.answer('/fcm/send', always=ACCEPTED)
    site.configure(
        enabled_services={'http': True, 'mobile': True},
        mobile_fcm_notification_end_point=site.receiver.url('/fcm/send'),
        hook_retry_schedule=[0, 1],
    )
    return site.daemon().ready()


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
def apple(certificates: Certificates) -> Iterator[Apple]:
    apple = Apple(certificates)
    yield apple
    apple.close()


def test_android_through_a_push_proxy(site: Site, daemon: Daemon) -> None:
    user = MobileUser(site, daemon, {'token': 'token-android'})
    user.hears('call_push_notification', CALL)
    user.logs(1)
    user.hears('call_push_notification', CALL, body_name='call_cancel_push_notification')
    user.logs(2)
    user.hears('user_missed_call', {'caller_id_name': 'A', 'caller_id_number': '1', 'reason': 'r'})
    user.logs(3)
    user.hears('global_voicemail_message_created', {'voicemail_id': 1, 'message': {'caller_id_num': '555'}})
    rows = user.logs(4)

    requests = site.receiver.at('/fcm/send')
    assert {request.headers['authorization'] for request in requests} == {'key=jwt'}
    call, cancelled, missed, voicemail = [json.loads(request.body)['data'] for request in requests]
    assert call['notification_type'] == 'incomingCall'
    assert {key: call['items'][key] for key in CALL} == CALL
    assert datetime.fromisoformat(call['items']['notification_timestamp']).tzinfo is not None
    assert cancelled['notification_type'] == 'cancelIncomingCall'
    assert (missed['notification_type'], set(missed['items'])) == (
        'missedCall',
        {'caller_id_name', 'caller_id_number', 'notification_timestamp', 'data_only'},
    )
    assert voicemail['notification_type'] == 'voicemailReceived'
    assert (voicemail['items']['voicemail_id'], voicemail['items']['data_only']) == (1, True)

    assert [(row['status'], row['attempts']) for row in rows] == [('success', 1)] * 4
    assert rows[0]['detail']['full_response']['topic_message_id'] == 'message-id'
    assert rows[1]['event']['name'] == 'call_cancel_push_notification'
    assert len(site.auth.calls('POST', '/token')) <= 3  # the service's own, and one for all pushes


def test_a_user_has_one_subscription_until_the_application_goes(site: Site, daemon: Daemon) -> None:
    user = MobileUser(site, daemon, {'token': 'token-android'})
    for what in ('added', 'updated', 'added'):
        user.tell(what)
    other = MobileUser(site, daemon, {'token': 'token-android'})
    (subscription,) = user.subscriptions()

    assert subscription['uuid'] == user.subscription
    assert subscription['metadata'] == {'mobile': 'true'}
    assert subscription['service'] == 'mobile'

    user.tell('deleted')
    until(lambda: user.subscriptions() == [])
    assert len(other.subscriptions()) == 1


def test_a_proxy_in_trouble_is_tried_again(site: Site, daemon: Daemon) -> None:
    user = MobileUser(site, daemon, {'token': 'token-android'})
    site.receiver.answer('/fcm/send', Answer(503))
    user.hears('call_push_notification', CALL)

    rows = user.logs(2)
    assert [row['status'] for row in rows] == ['failure', 'success']
    assert rows[0]['detail']['response_status_code'] == 503


def test_wazo_auth_in_trouble_is_asked_again(site: Site, daemon: Daemon) -> None:
    user = MobileUser(site, daemon, {'token': 'token-android'})
    site.auth.answer('GET', f'/users/{user.uuid}/external/mobile', 500, {})
    user.hears('call_push_notification', CALL)
    user.logs(1)
    site.auth.answers.clear()

    rows = user.logs(2)
    assert [row['status'] for row in rows] == ['failure', 'success']
    assert 'wazo-auth answered 500' in rows[0]['detail']['error']


def test_apple(site: Site, apple: Apple, certificates: Certificates, request: pytest.FixtureRequest) -> None:
    site.environment['SSL_CERT_FILE'] = str(certificates.authority)
    site.configure(mobile_apns_host='127.0.0.1', mobile_apns_port=apple.port)
    daemon: Daemon = request.getfixturevalue('daemon')
    certificate, key = certificates.issue('the client')
    tokens = {'apns_voip_token': 'voip', 'apns_notification_token': 'note'}
    user = MobileUser(site, daemon, tokens, {'ios_apn_certificate': certificate, 'ios_apn_private': key})
    user.hears('call_push_notification', CALL)
    (row,) = user.logs(1)
    user.hears('chatd_user_room_message_created', {'alias': 'sender-name', 'content': 'hello', 'user_uuid': 'other'})
    user.logs(2)

    call, chat = apple.requests
    assert (call['path'], call['client'], call['headers']['apns-push-type']) == ('/3/device/voip', 'the client', 'voip')
    assert call['headers']['authorization'] == 'Bearer jwt'
    assert call['headers']['user-agent'] == 'wazo-webhookd'
    assert call['body']['aps']['alert']['items']['peer_caller_id_number'] == '1001'
    assert chat['path'] == '/3/device/note'
    assert chat['body']['aps']['alert'] == {'title': 'New Message from sender-name', 'body': 'hello'}
    assert apple.connections == 1
    assert row['status'] == 'success'
    assert row['detail']['protocol_used'] == 'apns'
    assert 'jwt' not in json.dumps(row['detail'])

    apple.status, apple.answer = 400, {'reason': 'BadTopic'}
    user.hears('call_cancel_push_notification', {'call_id': 'c'})
    failed = user.logs(3)[2]
    assert failed['status'] == 'failure'
    assert failed['detail']['response_body'] == {'reason': 'BadTopic'}


def test_a_message_without_notification_token_is_an_error(site: Site, daemon: Daemon) -> None:
    user = MobileUser(site, daemon, {'apns_token': 'token-ios', 'apns_notification_token': None})
    user.hears('chatd_user_room_message_created', {'alias': 'a', 'content': 'hello', 'user_uuid': 'other'})

    (row,) = user.logs(1)
    assert (row['status'], row['attempts']) == ('error', 1)
    assert row['detail']['error_id'] == 'notification-error'
    assert 'apns_notification_token' in row['detail']['message']


def test_a_notification_over_rest(site: Site, daemon: Daemon) -> None:
    user = MobileUser(site, daemon, {'token': 'token-android'})
    body = {
        'notification_type': 'plugin',
        'user_uuid': user.uuid,
        'title': 'test title',
        'body': 'test message',
        'extra': {'plugin': {'id': 'test', 'entity': 'something'}, 'notification_type': 'incomingCall'},
    }
    answer = daemon.rest.call('POST', '/mobile/notifications', body, tenant=user.tenant)
    assert (answer.status_code, answer.text) == (204, '')

    (request,) = site.receiver.wait_for(1, '/fcm/send')
    assert request.text == (
        '{"data":{"items":{},"notification_type":"plugin","plugin":{"entity":"something","id":"test"}},'
        '"notification":{"android_channel_id":"io.wazo.songbird","badge":1,"body":"test message","title":"test title"},'
        '"priority":"high","to":"token-android"}'
    )

    for user_uuid in (str(uuid.uuid4()), site.auth.add_user()):
        refused = daemon.rest.call(
            'POST', '/mobile/notifications', {**body, 'user_uuid': user_uuid}, tenant=user.tenant
        )
        assert (refused.status_code, refused.json()['error_id']) == (400, 'invalid-user-uuid')
