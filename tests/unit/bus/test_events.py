import logging
from datetime import datetime

from wazo_webhookd.bus import events
from wazo_webhookd.bus.publisher import BusPublisher
from wazo_webhookd.bus.rarely import LINES_PER_MINUTE, Rarely

NOON = datetime(2026, 11, 23, 12, 0, 0, 7)


def test_an_event_repeats_its_headers_in_its_body():
    event = events.build(
        'thing_happened',
        {'a': 1},
        origin_uuid='wazo',
        routing_key='thing.happened',
        now=NOON,
        tenant_uuid='t',
        user_uuids=[events.EVERYBODY],
        extra={'room_uuid': 'r', 'name': 'never this'},
    )

    assert event.headers == {
        'name': 'thing_happened',
        'origin_uuid': 'wazo',
        'timestamp': '2026-11-23T12:00:00.000007',
        'required_access': 'event.thing_happened',
        'required_acl': 'events.thing.happened',
        'tenant_uuid': 't',
        'user_uuid:*': True,
        'room_uuid': 'r',
    }
    assert event.body == {**event.headers, 'data': {'a': 1}}


def test_a_time_with_a_zone_becomes_naive_and_local():
    stamp = events.build('n', None, origin_uuid='o', routing_key='k', now=NOON.astimezone()).headers['timestamp']

    assert stamp == '2026-11-23T12:00:00.000007'


def test_parts_of_routing_keys_are_escaped():
    assert events.escaped('a.b#c*d') == 'a__DOT__b__HASH__c__STAR__d'


class TenantEvent:
    """As guests make them."""

    name = 'guest_event'
    routing_key = 'guest.event'
    required_acl = 'events.guest'

    def __init__(self):
        self.content = {'k': 'v'}
        self.tenant_uuid = 't'
        self.room_uuid = 'r'
        self._private = 1


class WithHeaders(TenantEvent):
    headers = {'tenant_uuid': 't', 'user_uuid:u': True}  # as guests write it

    def marshal(self):
        return {'marshalled': True}


def test_event_objects_of_guests_are_understood():
    publisher = BusPublisher.from_config('wazo', {'host': 'nowhere', 'username': 'u', 'password': 'p'})
    plain = publisher._built(TenantEvent(), None, None, None)
    other = publisher._built(WithHeaders(), {'extra': 1}, 'other.key', None)
    replaced = publisher._built(WithHeaders(), None, None, {'instead': 1})

    assert plain.body['data'] == {'k': 'v'}
    assert plain.headers['tenant_uuid'] == 't'
    assert plain.headers['room_uuid'] == 'r'
    assert plain.headers['required_acl'] == 'events.guest'
    assert plain.routing_key == 'guest.event'
    assert '_private' not in plain.headers
    assert 'content' not in plain.headers
    assert other.headers['user_uuid:u'] is True
    assert other.headers['extra'] == 1
    assert other.routing_key == 'other.key'
    assert other.body['data'] == {'marshalled': True}
    assert replaced.body['data'] == {'instead': 1}


def test_a_flood_of_lines_is_cut_and_counted(caplog):
    now = [0.0]
    rarely = Rarely(logging.getLogger('flood'), clock=lambda: now[0])
    with caplog.at_level(logging.WARNING):
        for number in range(LINES_PER_MINUTE + 5):
            rarely.warning('line %d', number)
        now[0] = 60.0
        rarely.warning('next minute')

    assert len(caplog.messages) == LINES_PER_MINUTE + 2
    assert caplog.messages[-2] == '5 more lines like the last ones were left out'
