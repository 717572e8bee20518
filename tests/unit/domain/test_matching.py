"""Which subscriptions an event concerns (reference, delivery 1.4)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wazo_webhookd.domain.matching import Index, Rule, explain, rule_of
from wazo_webhookd.domain.subscription import MASTER, Subscription

MASTER_TENANT = 'master-tenant'
VOICEMAIL = 'global_voicemail_message_created'


def _subscription(**values: Any) -> Subscription:
    given: dict[str, Any] = {'owner_tenant_uuid': 'T', **values}
    return Subscription(uuid='s', name='n', service='http', events=['e', VOICEMAIL], config={}, **given)


T = _subscription()
ALL = _subscription(owner_tenant_uuid=MASTER_TENANT)
U = _subscription(owner_tenant_uuid=MASTER_TENANT, events_user_uuid='U')
W = _subscription(owner_tenant_uuid=MASTER_TENANT, events_wazo_uuid='W')
TUW = _subscription(events_user_uuid='U', events_wazo_uuid='W')

TRUTH: dict[str, tuple[Subscription, str, dict[str, Any], bool]] = {
    'another event': (ALL, 'other', {}, False),
    'master tenant, no tenant header': (ALL, 'e', {}, True),
    'master tenant, any tenant': (ALL, 'e', {'tenant_uuid': 'X'}, True),
    'sentinel of the master tenant': (_subscription(owner_tenant_uuid=MASTER), 'e', {'tenant_uuid': 'X'}, True),
    'own tenant': (T, 'e', {'tenant_uuid': 'T'}, True),
    'other tenant': (T, 'e', {'tenant_uuid': 'X'}, False),
    'no tenant': (T, 'e', {}, False),
    'tenant that is not a text': (T, 'e', {'tenant_uuid': ['T']}, False),
    'own user': (U, 'e', {'user_uuid:U': True}, True),
    'own user among several': (U, 'e', {'user_uuid:V': True, 'user_uuid:U': True}, True),
    'other user': (U, 'e', {'user_uuid:V': True}, False),
    'suffix of the user': (U, 'e', {'user_uuid:U-suffix': True}, False),
    'everybody is not the user': (U, 'e', {'user_uuid:*': True}, False),
    'no user': (U, 'e', {}, False),
    'user as a text': (U, 'e', {'user_uuid:U': 'true'}, False),
    'user as a number': (U, 'e', {'user_uuid:U': 1}, False),
    'user denied': (U, 'e', {'user_uuid:U': False}, False),
    'global voicemail, everybody': (U, VOICEMAIL, {'user_uuid:*': True}, True),
    'global voicemail, only the user': (U, VOICEMAIL, {'user_uuid:U': True}, False),
    'global voicemail without a filter, everybody': (ALL, VOICEMAIL, {'user_uuid:*': True}, True),
    'global voicemail without a filter, nobody': (ALL, VOICEMAIL, {}, False),
    'global voicemail of another tenant': (T, VOICEMAIL, {'user_uuid:*': True, 'tenant_uuid': 'X'}, False),
    'own server': (W, 'e', {'origin_uuid': 'W'}, True),
    'other server': (W, 'e', {'origin_uuid': 'X'}, False),
    'suffix of the server': (W, 'e', {'origin_uuid': 'W-suffix'}, False),
    'no server': (W, 'e', {}, False),
    'all three': (TUW, 'e', {'tenant_uuid': 'T', 'user_uuid:U': True, 'origin_uuid': 'W'}, True),
    'all but the server': (TUW, 'e', {'tenant_uuid': 'T', 'user_uuid:U': True}, False),
    'all but the user': (TUW, 'e', {'tenant_uuid': 'T', 'origin_uuid': 'W'}, False),
    'all but the tenant': (TUW, 'e', {'user_uuid:U': True, 'origin_uuid': 'W'}, False),
}


@pytest.mark.parametrize('case', TRUTH.values(), ids=TRUTH.keys())
def test_truth_table(case: tuple[Subscription, str, dict[str, Any], bool]) -> None:
    subscription, name, headers, concerned = case
    rule = rule_of(subscription, MASTER_TENANT)
    index = Index()
    index.add('s', rule)

    assert index.match(name, headers) == (['s'] if concerned else [])
    assert (explain(rule, name, headers) is None) is concerned


def test_before_the_master_tenant_is_known_a_tenant_hears_its_own_events_alone() -> None:
    assert rule_of(ALL, None).tenant == MASTER_TENANT
    assert rule_of(_subscription(owner_tenant_uuid=MASTER), None).tenant is None


def test_explanation_names_what_is_missing() -> None:
    assert explain(Rule(('e',), tenant='T'), 'e', {}) == 'the event is not of tenant T'
    assert explain(Rule(('e',), user='U'), 'e', {}) == 'the event is not for user U'
    assert explain(Rule((VOICEMAIL,)), VOICEMAIL, {}) == 'the event is not for all users'
    assert explain(Rule(('e',), origin='W'), 'e', {}) == 'the event is not from server W'
    assert explain(Rule(('e',)), 'f', {}) == "the subscription does not want events named 'f'"


def test_what_was_removed_is_not_wanted_any_more() -> None:
    index = Index()
    index.add('a', Rule(('e', 'f')))
    index.add('b', Rule(('e',)))
    index.remove('a')
    index.remove('unknown')

    assert index.names() == {'e'}
    assert index.wants('e')
    assert not index.wants('f')
    assert index.match('e', {}) == ['b']
    assert len(index) == 1


def test_adding_again_replaces() -> None:
    index = Index()
    index.add('a', Rule(('e',)))
    index.add('a', Rule(('f',), tenant='T'))

    assert index.match('e', {}) == []
    assert index.match('f', {'tenant_uuid': 'T'}) == ['a']


# -- against the naive rules -------------------------------------------------------------------

_names = st.sampled_from(['e', 'f', VOICEMAIL])
_few = st.sampled_from(['a', 'b', '*', ''])
_maybe = st.none() | _few
_rules = st.builds(Rule, st.lists(_names, max_size=4).map(tuple), _maybe, _maybe, _maybe)
_values = st.sampled_from([True, False, 1, 'true', 'a', None, ['a']]) | _few
_headers = st.dictionaries(
    st.sampled_from(['tenant_uuid', 'origin_uuid', 'name']) | _few.map('user_uuid:{}'.format), _values
)
_steps = st.lists(st.tuples(st.sampled_from(['1', '2', '3', '4']), st.none() | _rules), max_size=12)


@given(_steps, _names, _headers)
@settings(max_examples=500)
def test_index_finds_what_the_naive_rules_find(
    steps: list[tuple[str, Rule | None]], name: str, headers: dict[str, Any]
) -> None:
    index = Index()
    known: dict[str, Rule] = {}
    for uuid, rule in steps:
        if rule is None:
            index.remove(uuid)
            known.pop(uuid, None)
        else:
            index.add(uuid, rule)
            known[uuid] = rule

    found = index.match(name, headers)
    assert len(found) == len(set(found))
    assert set(found) == {uuid for uuid, rule in known.items() if explain(rule, name, headers) is None}
    assert index.names() == {wanted for rule in known.values() for wanted in rule.names}


class _Counting(dict[Any, Any]):
    asked = 0

    def get(self, key: Any, default: Any = None) -> Any:
        self.asked += 1
        return super().get(key, default)


def test_subscriptions_that_do_not_match_cost_nothing() -> None:
    headers = {'tenant_uuid': 'T', 'user_uuid:U': True, 'user_uuid:V': True, 'origin_uuid': 'W'}
    index = Index()
    index.add('mine', Rule(('e',), 'T', 'U', 'W'))
    for number in range(10_000):
        index.add(f'{number}', Rule(('e',), f'T{number % 50}', f'U{number}', None))
    rooms = _Counting(index._rooms)
    index._rooms = rooms

    assert index.match('e', headers) == ['mine']
    assert rooms.asked == 2 * 3 * 2
