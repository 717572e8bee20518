"""What Google's and Apple's push services are sent for a notification (reference: delivery 6.5, 6.6)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from .notification import CANCEL_INCOMING_CALL, INCOMING_CALL, Notification

ANDROID_CHANNEL: Final = 'io.wazo.songbird'
USER_AGENT: Final = 'wazo-webhookd'


class NoDeviceToken(Exception):
    """The user's application left no token for this kind of notification; the message names the token."""


def fcm_v1(notification: Notification, token: str) -> str:
    """The body of a message of FCM's v1 protocol. There all of ``data`` are texts, so ``items`` is JSON in JSON."""
    data = notification.data()
    data['items'] = _compact(data['items']) if data['items'] else ''
    android: dict[str, Any] = {'priority': 'high', 'ttl': '0s'}
    if not notification.data_only and notification.type != INCOMING_CALL:
        android['notification'] = {
            'body': notification.body,
            'channel_id': ANDROID_CHANNEL,
            'notification_count': 1,
            'title': notification.title,
        }
    return _compact({'message': {'android': android, 'data': data, 'token': token}})


def fcm_legacy(notification: Notification, token: str) -> str:
    """The body of a message of FCM's older protocol, which push proxies speak."""
    message: dict[str, Any] = {'data': notification.data(), 'priority': 'high', 'to': token}
    if notification.type == INCOMING_CALL:
        message['notification'] = {}
    elif not notification.data_only:
        message['notification'] = {
            'android_channel_id': ANDROID_CHANNEL,
            'badge': 1,
            'body': notification.body,
            'title': notification.title,
        }
    return _compact(message)


@dataclass(frozen=True, slots=True)
class ApnsTopics:
    """Names of the application at Apple: for calls, and for everything else."""

    call: str
    default: str

    def overridden_by(self, tokens: Mapping[str, Any]) -> ApnsTopics:
        """Those that the user's application named itself, each by itself."""
        return ApnsTopics(tokens.get('apns_call_topic') or self.call, tokens.get('apns_default_topic') or self.default)


@dataclass(frozen=True, slots=True)
class ApnsRequest:
    path: str
    headers: dict[str, str]
    body: str


def apns(notification: Notification, tokens: Mapping[str, Any], topics: ApnsTopics, jwt: str) -> ApnsRequest:
    """``tokens``: what wazo-auth keeps of the user's application. ``jwt`` is for push proxies. Raises NoDeviceToken."""
    topics = topics.overridden_by(tokens)
    is_call = notification.type == INCOMING_CALL
    if is_call:
        token = tokens.get('apns_voip_token') or tokens.get('apns_token')
    else:
        token = tokens.get('apns_notification_token')
    if not token:
        raise NoDeviceToken('apns_voip_token' if is_call else 'apns_notification_token')
    headers = {
        'apns-topic': topics.call if is_call else topics.default,
        'apns-push-type': 'voip' if is_call else 'alert',
        'apns-priority': '10' if is_call else '5',
        'apns-expiration': '0',
        'User-Agent': USER_AGENT,
        'Content-Type': 'application/json',
    }
    if jwt:
        headers['Authorization'] = f'Bearer {jwt}'
    return ApnsRequest(f'/3/device/{quote(str(token), safe="")}', headers, json.dumps(_apns_body(notification)))


def _apns_body(notification: Notification) -> dict[str, Any]:
    data = notification.data()
    if notification.type == INCOMING_CALL:
        return {'aps': {'alert': data, 'badge': 1}, **data}
    aps: dict[str, Any] = {'badge': 1, 'sound': 'default'}
    if notification.type == CANCEL_INCOMING_CALL:
        return {'aps': {**aps, 'content-available': 1}, **data}
    if notification.data_only:
        aps['content-available'] = 1
    if notification.title is not None or notification.body is not None:
        aps['alert'] = {'title': notification.title, 'body': notification.body}
    return {'aps': aps, 'data': data}


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(',', ':'), sort_keys=True)
