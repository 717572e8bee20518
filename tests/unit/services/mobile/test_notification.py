from datetime import UTC, datetime

import pytest

from wazo_webhookd.services.mobile.notification import (
    EVENTS,
    Incomplete,
    Notification,
    Skipped,
    of_event,
    of_request,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
STAMP = {'notification_timestamp': '2026-11-23T12:00:00+00:00'}
VOICEMAIL = {'voicemail_id': 1, 'message': {'caller_id_name': 'John Smith', 'caller_id_num': '5551234567'}}


def notification(name, data):
    return of_event({'name': name, 'data': data}, 'me', NOW)


@pytest.mark.parametrize(
    ('name', 'data', 'expected'),
    [
        (
            'call_push_notification',
            {'peer_caller_id_number': '1001', 'mobile_wakeup_timestamp': 'w'},
            ('incomingCall', 'Incoming Call', 'From: 1001', False),
        ),
        ('call_cancel_push_notification', {'call_id': 'c'}, ('cancelIncomingCall', None, None, True)),
        ('user_voicemail_message_created', VOICEMAIL, (
            'voicemailReceived', 'New Voicemail', 'From: John Smith (5551234567)', True)),
        ('global_voicemail_message_created', VOICEMAIL, (
            'voicemailReceived', 'New Voicemail', 'From: John Smith (5551234567)', True)),
        ('user_voicemail_message_created', {'message': {'caller_id_name': None}}, (
            'voicemailReceived', 'New Voicemail', 'From: Unknown ()', True)),
        ('chatd_user_room_message_created', {'alias': 'sender-name', 'content': 'hello', 'user_uuid': 'other'}, (
            'messageReceived', 'New Message from sender-name', 'hello', True)),
        ('chatd_user_room_message_created', {'alias': None, 'content': None}, (
            'messageReceived', 'New Message from [Unknown]', '', True)),
        ('user_missed_call', {'caller_id_name': 'A Mctest', 'caller_id_number': '8001', 'reason': 'no'}, (
            'missedCall', 'Missed Call', 'From: A Mctest (8001)', True)),
        ('user_missed_call', {}, ('missedCall', 'Missed Call', 'From: <name unknown> (<number unknown>)', True)),
    ],
)  # fmt: skip
def test_events_become_notifications(name, data, expected):
    made = notification(name, data)

    assert (made.type, made.title, made.body, made.data_only) == expected
    assert made.items['notification_timestamp'] == '2026-11-23T12:00:00+00:00'
    assert made.items.get('data_only', False) is expected[3]


def test_items_are_the_data_of_the_event():
    data = {'peer_caller_id_number': '1001', 'mobile_wakeup_timestamp': 'w'}

    assert notification('call_push_notification', data).items == {**data, **STAMP}


def test_a_missed_call_tells_only_who_called():
    data = {'caller_id_name': 'A', 'caller_id_number': '1', 'conversation_id': 'c', 'user_uuid': 'me'}

    assert notification('user_missed_call', data).items == {
        'caller_id_name': 'A',
        'caller_id_number': '1',
        **STAMP,
        'data_only': True,
    }


@pytest.mark.parametrize(('length', 'text'), [(100, 'x' * 100), (101, 'x' * 97 + '...')])
def test_long_messages_are_cut(length, text):
    assert notification('chatd_user_room_message_created', {'content': 'x' * length}).body == text


def test_own_messages_are_not_told():
    with pytest.raises(Skipped, match='message of the user'):
        notification('chatd_user_room_message_created', {'user_uuid': 'me', 'content': 'hello'})


@pytest.mark.parametrize('name', ['user_created', None, 1, ['x']])
def test_other_events_are_skipped(name):
    with pytest.raises(Skipped, match='no push notification'):
        of_event({'name': name, 'data': {}}, 'me', NOW)


@pytest.mark.parametrize(
    ('name', 'data', 'missing'),
    [
        ('call_push_notification', {}, 'peer_caller_id_number'),
        ('call_push_notification', None, 'no data'),
        ('user_voicemail_message_created', {}, 'data.message'),
    ],
)
def test_what_an_event_lacks_is_said(name, data, missing):
    with pytest.raises(Incomplete, match=missing):
        notification(name, data)


def test_every_event_subscribed_to_becomes_a_notification():
    data = {'peer_caller_id_number': '1', 'message': {}}

    assert {notification(name, data).type for name in EVENTS} == {
        'incomingCall', 'cancelIncomingCall', 'voicemailReceived', 'messageReceived', 'missedCall',
    }  # fmt: skip


def test_a_request_cannot_pass_for_an_event():
    made = of_request(
        {
            'notification_type': 'plugin',
            'title': 't',
            'body': 'b',
            'extra': {'notification_type': 'incomingCall', 'items': {'a': 1}, 'more': 2},
        }
    )

    assert made.data() == {'notification_type': 'plugin', 'items': {'a': 1}, 'more': 2}
    assert Notification('plugin', extra={'notification_type': 'x', 'items': 'x'}).data() == {
        'notification_type': 'plugin',
        'items': {},
    }
