"""``/mobile/notifications``: have a push notification sent to a user."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import requests

from ...auth import required_acl, scope_tenant
from ...auth.errors import AuthServerUnreachable
from ...exceptions import APIException
from ...rest_api import AuthResource, json_body
from .schema import notification_schema

logger = logging.getLogger(__name__)

UUID_FORM: Final = (8, 4, 4, 4, 12)


class InvalidUserUUID(APIException):
    def __init__(self) -> None:
        super().__init__(400, 'User UUID is invalid or unauthorized', 'invalid-user-uuid')


class TaskBrokerUnreachable(APIException):
    def __init__(self) -> None:
        super().__init__(503, 'Task broker unreachable', 'task-broker-unreachable')


class Users(Protocol):
    """What of the client of wazo-auth is used here; it sends the service's own token."""

    host: str
    port: int | None
    users: Any


class NotificationResource(AuthResource):
    def __init__(self, auth_client: Users, send: Callable[[Mapping[str, Any]], None]) -> None:
        """``send`` queues a notification; it raises OSError or kombu's OperationalError when the broker is away."""
        self._auth_client = auth_client
        self._send = send

    @required_acl('webhookd.mobile.notifications.send')
    def post(self) -> tuple[str, int]:
        """204 means that it is queued, not that it was delivered."""
        from kombu.exceptions import OperationalError

        notification = notification_schema.load(json_body())
        self._check_user(notification['user_uuid'], scope_tenant())
        try:
            self._send(notification)
        except (OperationalError, OSError) as error:
            logger.info('a push notification could not be queued: %s', error)
            raise TaskBrokerUnreachable from error
        return '', 204

    def _check_user(self, user_uuid: str, tenant_uuid: str) -> None:
        if not _is_uuid(user_uuid):
            raise InvalidUserUUID
        client = self._auth_client
        try:
            user = client.users.get(user_uuid)
        except requests.HTTPError as error:
            raise InvalidUserUUID from error
        except requests.RequestException as error:
            raise AuthServerUnreachable(client.host, client.port, str(error)) from error
        if user.get('enabled') is not True or user.get('tenant_uuid') != tenant_uuid:
            raise InvalidUserUUID


def _is_uuid(text: str) -> bool:
    parts = text.split('-')
    return tuple(map(len, parts)) == UUID_FORM and all(set(part) <= set('0123456789abcdefABCDEF') for part in parts)
