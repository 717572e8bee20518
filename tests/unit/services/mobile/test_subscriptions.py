import uuid

import pytest

from wazo_webhookd.domain.subscription import Subscription
from wazo_webhookd.services.mobile.notification import EVENTS
from wazo_webhookd.services.mobile.subscriptions import MobileSubscriptions
from wazo_webhookd.subscriptions.service import NoSuchSubscription

HEADERS = {'tenant_uuid': 'tenant'}
BODY = {'data': {'user_uuid': 'user', 'external_auth_name': 'mobile'}}


class FakeService:
    def __init__(self):
        self.rows = {}

    def list(self, owner_tenant_uuids=None, owner_user_uuid=None, events_user_uuid=None, search_metadata=None):
        return [
            row
            for row in self.rows.values()
            if (owner_tenant_uuids is None or row.owner_tenant_uuid in owner_tenant_uuids)
            and (owner_user_uuid is None or row.owner_user_uuid == owner_user_uuid)
            and (search_metadata or {}).items() <= row.metadata.items()
        ]

    def create(self, values):
        row = Subscription(uuid=str(uuid.uuid4()), **values)
        self.rows[row.uuid] = row
        return row

    def update(self, subscription_uuid, values):
        row = self.rows[subscription_uuid]
        self.rows[subscription_uuid] = Subscription(**{**_fields(row), **values})

    def delete(self, subscription_uuid):
        if subscription_uuid not in self.rows:
            raise NoSuchSubscription(subscription_uuid)
        del self.rows[subscription_uuid]


def _fields(row):
    return {name: getattr(row, name) for name in Subscription.__dataclass_fields__}


@pytest.fixture
def service():
    return FakeService()


@pytest.fixture
def mobile(service):
    return MobileSubscriptions(service)


def test_a_new_application_gets_one_subscription(mobile, service):
    mobile.on_mobile_account(BODY, HEADERS)
    mobile.on_mobile_account(BODY, HEADERS)

    (row,) = service.rows.values()
    assert row.to_dict() == {
        'uuid': row.uuid,
        'name': 'Push notification mobile for user tenant/user',
        'service': 'mobile',
        'events': list(EVENTS),
        'config': {},
        'events_user_uuid': 'user',
        'events_wazo_uuid': None,
        'owner_user_uuid': 'user',
        'owner_tenant_uuid': 'tenant',
        'metadata': {'mobile': 'true'},
    }


def test_duplicates_go_and_the_oldest_stays(mobile, service):
    mobile.on_mobile_account(BODY, HEADERS)
    (first,) = service.rows.values()
    for _ in range(2):
        service.create({key: value for key, value in first.to_dict().items() if key != 'uuid'})
    mobile.on_mobile_account(BODY, HEADERS)

    assert list(service.rows.values()) == [first]


def test_an_application_that_is_gone_leaves_none(mobile, service):
    mobile.on_mobile_account(BODY, HEADERS)
    mobile.on_mobile_account({'data': {**BODY['data'], 'user_uuid': 'other'}}, HEADERS)
    mobile.on_mobile_account_gone(BODY, HEADERS)

    assert [row.owner_user_uuid for row in service.rows.values()] == ['other']


def test_subscriptions_of_others_are_left_alone(mobile, service):
    own = service.create(
        {'name': 'mine', 'service': 'http', 'events': ['x'], 'config': {}, 'owner_tenant_uuid': 'tenant',
         'owner_user_uuid': 'user', 'metadata': {'mobile': 'true'}}
    )  # fmt: skip
    mobile.on_mobile_account(BODY, HEADERS)
    mobile.on_mobile_account_gone(BODY, HEADERS)

    assert list(service.rows.values()) == [own]


def test_events_that_came_later_are_added(mobile, service):
    mobile.on_mobile_account(BODY, HEADERS)
    (row,) = service.rows.values()
    service.update(row.uuid, {'events': ['call_push_notification', 'something_else']})
    mobile.complete_all()

    (row,) = service.rows.values()
    assert row.events[:2] == ['call_push_notification', 'something_else']
    assert set(row.events) == {*EVENTS, 'something_else'}


@pytest.mark.parametrize(
    ('body', 'headers'),
    [
        ({'data': {'user_uuid': 'u', 'external_auth_name': 'google'}}, HEADERS),
        ({'data': {'external_auth_name': 'mobile'}}, HEADERS),
        (BODY, {}),
        ({'data': None}, HEADERS),
        ({}, HEADERS),
    ],
)
def test_other_accounts_and_rubbish_are_ignored(mobile, service, body, headers):
    mobile.on_mobile_account(body, headers)
    mobile.on_mobile_account_gone(body, headers)

    assert not service.rows
