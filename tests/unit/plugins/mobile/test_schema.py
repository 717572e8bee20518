import pytest
from marshmallow import ValidationError

from wazo_webhookd.plugins.mobile.schema import notification_schema
from wazo_webhookd.services.mobile.notification import RESERVED_TYPES

GOOD = {'notification_type': 'My_plugin1', 'user_uuid': 'u' * 36, 'title': '', 'body': ''}


def errors(**changes):
    with pytest.raises(ValidationError) as raised:
        notification_schema.load({key: value for key, value in {**GOOD, **changes}.items() if value is not ...})
    return raised.value.normalized_messages()


def test_extra_is_optional():
    assert notification_schema.load(GOOD) == {**GOOD, 'extra': {}}
    assert notification_schema.load({**GOOD, 'extra': {'a': [1]}})['extra'] == {'a': [1]}


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        ({'notification_type': 'x' * 101}, {'notification_type': ['Length must be between 1 and 100.']}),
        ({'notification_type': 'a-b'}, {'notification_type': ['String does not match expected pattern.']}),
        ({'notification_type': 'a\n'}, {'notification_type': ['String does not match expected pattern.']}),
        ({'notification_type': None}, {'notification_type': ['Field may not be null.']}),
        ({'notification_type': 1}, {'notification_type': ['Not a valid string.']}),
        ({'notification_type': ...}, {'notification_type': ['Missing data for required field.']}),
        ({'user_uuid': 'short'}, {'user_uuid': ['Length must be 36.']}),
        ({'title': 'x' * 129}, {'title': ['Longer than maximum length 128.']}),
        ({'body': 'x' * 251}, {'body': ['Longer than maximum length 250.']}),
        ({'body': ..., 'title': None}, {
            'body': ['Missing data for required field.'], 'title': ['Field may not be null.']}),
        ({'extra': None}, {'extra': ['Field may not be null.']}),
        ({'extra': []}, {'extra': ['Not a valid mapping type.']}),
        ({'other': 1}, {'other': ['Unknown field.']}),
    ],
)  # fmt: skip
def test_errors_are_lists_of_texts(changes, expected):
    assert errors(**changes) == expected


@pytest.mark.parametrize('reserved', RESERVED_TYPES)
def test_types_of_events_are_reserved(reserved):
    assert errors(notification_type=reserved) == {'notification_type': [f'The type "{reserved}" is a reserved type.']}
    assert notification_schema.load({**GOOD, 'notification_type': reserved.lower()})


@pytest.mark.parametrize('body', [None, [], 'text', 1])
def test_a_body_has_to_be_an_object(body):
    with pytest.raises(ValidationError) as raised:
        notification_schema.load(body)

    assert raised.value.normalized_messages() == {'_schema': ['Invalid input type.']}
