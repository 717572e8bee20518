import json

import pytest

from wazo_webhookd.services.mobile.notification import Notification, of_request
from wazo_webhookd.services.mobile.payloads import ApnsTopics, NoDeviceToken, apns, fcm_legacy, fcm_v1

CALL = Notification('incomingCall', 'Incoming Call', 'From: 1001', {'peer_caller_id_number': '1001', 'é': 1})
CANCEL = Notification('cancelIncomingCall', items={'call_id': 'c', 'data_only': True}, data_only=True)
CHAT = Notification('messageReceived', 'New Message from sender-name', 'hello', {'data_only': True}, data_only=True)
API = of_request(
    {
        'notification_type': 'plugin',
        'user_uuid': 'u',
        'title': 'test title',
        'body': 'test message',
        'extra': {'plugin': {'id': 'test', 'entity': 'something'}},
    }
)
TOPICS = ApnsTopics('org.wazo-platform.voip', 'org.wazo-platform')
TOKENS = {'apns_voip_token': 'voip', 'apns_notification_token': 'note', 'apns_token': None}


# -- Google


def test_legacy_request_over_rest_byte_for_byte():
    assert fcm_legacy(API, 'token-android') == (
        '{"data":{"items":{},"notification_type":"plugin","plugin":{"entity":"something","id":"test"}},'
        '"notification":{"android_channel_id":"io.wazo.songbird","badge":1,"body":"test message","title":"test title"},'
        '"priority":"high","to":"token-android"}'
    )


def test_legacy_call():
    assert json.loads(fcm_legacy(CALL, 'T')) == {
        'data': {'items': {'peer_caller_id_number': '1001', 'é': 1}, 'notification_type': 'incomingCall'},
        'notification': {},
        'priority': 'high',
        'to': 'T',
    }


@pytest.mark.parametrize('notification', [CANCEL, CHAT])
def test_what_the_application_shows_itself_has_no_notification(notification):
    assert 'notification' not in json.loads(fcm_legacy(notification, 'T'))
    assert 'notification' not in json.loads(fcm_v1(notification, 'T'))['message']['android']


def test_v1_request_over_rest_byte_for_byte():
    request = {
        'notification_type': 'plugin',
        'title': 'test title',
        'body': 'test message',
        'extra': {'plugin': 'test'},
    }

    assert fcm_v1(of_request(request), 'token-android') == json.dumps(
        {
            'message': {
                'data': {'notification_type': 'plugin', 'plugin': 'test', 'items': ''},
                'android': {
                    'priority': 'high',
                    'ttl': '0s',
                    'notification': {
                        'channel_id': 'io.wazo.songbird',
                        'notification_count': 1,
                        'body': 'test message',
                        'title': 'test title',
                    },
                },
                'token': 'token-android',
            }
        },
        separators=(',', ':'),
        sort_keys=True,
    )


def test_v1_items_are_json_in_a_text():
    message = json.loads(fcm_v1(CALL, 'T'))['message']

    assert message == {
        'android': {'priority': 'high', 'ttl': '0s'},
        'data': {'items': r'{"peer_caller_id_number":"1001","\u00e9":1}', 'notification_type': 'incomingCall'},
        'token': 'T',
    }


# -- Apple


def test_apple_request_over_rest_byte_for_byte():
    request = apns(API, TOKENS, TOPICS, '')

    assert request.path == '/3/device/note'
    assert request.body == json.dumps(
        {
            'aps': {'badge': 1, 'sound': 'default', 'alert': {'title': 'test title', 'body': 'test message'}},
            'data': {'notification_type': 'plugin', 'items': {}, 'plugin': {'id': 'test', 'entity': 'something'}},
        }
    )


def test_apple_call():
    request = apns(CALL, TOKENS, TOPICS, 'jwt')
    data = {'notification_type': 'incomingCall', 'items': {'peer_caller_id_number': '1001', 'é': 1}}

    assert request.path == '/3/device/voip'
    assert request.headers == {
        'apns-topic': 'org.wazo-platform.voip', 'apns-push-type': 'voip', 'apns-priority': '10', 'apns-expiration': '0',
        'User-Agent': 'wazo-webhookd', 'Content-Type': 'application/json', 'Authorization': 'Bearer jwt',
    }  # fmt: skip
    assert json.loads(request.body) == {'aps': {'alert': data, 'badge': 1}, **data}


def test_apple_cancelled_call():
    request = apns(CANCEL, TOKENS, TOPICS, '')

    assert request.path == '/3/device/note'
    assert 'Authorization' not in request.headers
    assert [request.headers[f'apns-{name}'] for name in ('topic', 'push-type', 'priority')] == [
        'org.wazo-platform', 'alert', '5',
    ]  # fmt: skip
    assert json.loads(request.body) == {
        'aps': {'badge': 1, 'sound': 'default', 'content-available': 1},
        'notification_type': 'cancelIncomingCall',
        'items': {'call_id': 'c', 'data_only': True},
    }


def test_apple_message():
    assert json.loads(apns(CHAT, TOKENS, TOPICS, '').body) == {
        'aps': {
            'badge': 1,
            'sound': 'default',
            'content-available': 1,
            'alert': {'title': 'New Message from sender-name', 'body': 'hello'},
        },
        'data': {'notification_type': 'messageReceived', 'items': {'data_only': True}},
    }


def test_the_old_single_token_is_for_calls():
    assert apns(CALL, {'apns_token': 'token-ios'}, TOPICS, '').path == '/3/device/token-ios'


@pytest.mark.parametrize('tokens', [{'apns_token': 'x'}, {'apns_token': 'x', 'apns_notification_token': None}])
def test_a_missing_token_is_named(tokens):
    with pytest.raises(NoDeviceToken, match='apns_notification_token'):
        apns(CHAT, tokens, TOPICS, '')


def test_a_token_cannot_lead_elsewhere():
    assert apns(CALL, {'apns_voip_token': '../a?b'}, TOPICS, '').path == '/3/device/..%2Fa%3Fb'


@pytest.mark.parametrize(
    ('tokens', 'call', 'default'),
    [
        ({}, 'org.wazo-platform.voip', 'org.wazo-platform'),
        ({'apns_call_topic': 'c'}, 'c', 'org.wazo-platform'),
        ({'apns_default_topic': 'd', 'apns_call_topic': None}, 'org.wazo-platform.voip', 'd'),
        ({'apns_default_topic': 'd', 'apns_call_topic': 'c'}, 'c', 'd'),
    ],
)
def test_topics_of_the_application_win_each_by_itself(tokens, call, default):
    assert TOPICS.overridden_by(tokens) == ApnsTopics(call, default)
