"""Whose subscriptions a caller may see."""

from __future__ import annotations

import pytest

from wazo_webhookd.domain.scope import EVERYTHING, Scope

CASES = {
    'own tenant': (Scope.of(['t']), 't', None, True),
    'own tenant, somebody owns it': (Scope.of(['t']), 't', 'u', True),
    'another tenant': (Scope.of(['t']), 'other', None, False),
    'one of several tenants': (Scope.of(['t', 'child']), 'child', None, True),
    'no tenant at all': (Scope.of([]), 't', None, False),
    'everything': (Scope(EVERYTHING), 'any', 'u', True),
    'its owner': (Scope.of(['t'], owner='u'), 't', 'u', True),
    'another owner': (Scope.of(['t'], owner='u'), 't', 'v', False),
    'nobody owns it': (Scope.of(['t'], owner='u'), 't', None, False),
    'its owner in another tenant': (Scope.of(['t'], owner='u'), 'other', 'u', False),
    'an owner in no tenant': (Scope.of([], owner='u'), 't', 'u', False),
    'an owner in everything': (Scope(EVERYTHING, owner='u'), 'any', 'u', True),
}


@pytest.mark.parametrize('case', CASES.values(), ids=CASES.keys())
def test_scope_includes_what_its_tenants_and_owner_say(case: tuple[Scope, str, str | None, bool]) -> None:
    scope, tenant, owner, included = case

    assert scope.includes(tenant, owner) is included


def test_no_tenants_are_nothing() -> None:
    assert Scope.of([]).is_empty
    assert not Scope.of(['t']).is_empty
    assert not Scope(EVERYTHING).is_empty
