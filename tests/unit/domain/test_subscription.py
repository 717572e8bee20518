"""What code may give as a subscription, and how one is shown."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from wazo_webhookd.domain.subscription import InvalidSubscription, Subscription, clean, is_storable

GIVEN: dict[str, Any] = {'name': 'n', 'service': 's', 'events': ['a'], 'config': {}}


def test_document_is_the_ten_keys_as_ascii() -> None:
    subscription = Subscription('u', 'é', 'http', ['a'], {'url': 'x'}, 't')

    assert json.loads(subscription.document()) == {
        'uuid': 'u',
        'name': 'é',
        'service': 'http',
        'events': ['a'],
        'config': {'url': 'x'},
        'events_user_uuid': None,
        'events_wazo_uuid': None,
        'owner_user_uuid': None,
        'owner_tenant_uuid': 't',
        'metadata': {},
    }
    assert subscription.document().isascii()


def test_metadata_has_the_name_that_current_plugins_read() -> None:
    assert Subscription('u', 'n', 's', [], {}, 't', metadata={'a': 'b'}).metadata_ == {'a': 'b'}


def test_names_of_events_are_collapsed_in_their_order() -> None:
    assert clean({**GIVEN, 'events': ['b', 'a', 'b']})['events'] == ['b', 'a']


def test_metadata_goes_by_both_names() -> None:
    assert clean({**GIVEN, 'metadata_': {'a': 'b'}})['metadata'] == {'a': 'b'}
    assert clean({**GIVEN, 'metadata': {'a': 'b'}})['metadata'] == {'a': 'b'}


@pytest.mark.parametrize(('value', 'kept'), [(1, '1'), (True, 'true'), (1.5, '1.5'), (None, None), ('x', 'x')])
def test_values_of_metadata_become_text(value: Any, kept: str | None) -> None:
    assert clean({'metadata': {'a': value}}) == {'metadata': {'a': kept}}


@pytest.mark.parametrize('value', ['x', 10, 1.5, True, None, 2**70])
def test_values_of_config_keep_their_type(value: Any) -> None:
    kept = clean({'config': {'a': value}})['config']['a']

    assert kept == value
    assert type(kept) is type(value)


def test_uuids_become_text() -> None:
    tenant = uuid.uuid4()

    assert clean({'owner_tenant_uuid': tenant}) == {'owner_tenant_uuid': str(tenant)}


def test_absent_keys_stay_absent_and_unknown_ones_go() -> None:
    assert clean({'name': 'n', 'tags': 1, 'uuid': 'x'}) == {'name': 'n'}


REFUSED: dict[str, dict[str, Any]] = {
    'NUL in a name': {'name': 'a\0b'},
    'half of a surrogate pair': {'name': '\ud800'},
    'NUL in an event': {'events': ['a\0']},
    'NUL in a key of config': {'config': {'a\0': 'b'}},
    'NUL in a value of config': {'config': {'a': 'b\0'}},
    'NUL in metadata': {'metadata': {'a': '\0'}},
    'NUL in a uuid': {'owner_user_uuid': '\0'},
    'events are one text': {'events': 'call_created'},
    'events are no list': {'events': 5},
    'config is a list': {'config': []},
    'a list in config': {'config': {'a': [1]}},
    'an object in config': {'config': {'a': {}}},
    'not a number in config': {'config': {'a': float('nan')}},
    'an object in metadata': {'metadata': {'a': {'b': 'c'}}},
    'a uuid that no column takes': {'events_user_uuid': 'x' * 37},
}


@pytest.mark.parametrize('change', REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_stored_is_refused_as_a_value_error(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidSubscription, match=next(iter(change))) as refused:
        clean({**GIVEN, **change})

    assert isinstance(refused.value, ValueError)


def test_a_whole_character_beyond_the_basic_plane_is_storable() -> None:
    assert is_storable('😀')
