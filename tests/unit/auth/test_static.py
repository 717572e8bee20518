import pytest
import requests

from wazo_webhookd.auth.errors import MissingPermission, UnknownToken
from wazo_webhookd.auth.static import NoAuthClient, StaticAuthority

AUTHORITY = StaticAuthority('right', 'tenant', 'user', 'wazo')


def test_the_token_opens_every_door_of_the_one_tenant():
    AUTHORITY.check('right', 'any.access', None)
    AUTHORITY.check('right', 'any.access', 'tenant')

    assert AUTHORITY.details('right')['metadata'] == {'uuid': 'user', 'tenant_uuid': 'tenant'}
    assert AUTHORITY.visible_tenants('right', 'tenant') == {'tenant'}


@pytest.mark.parametrize('token', ['', 'wrong', 'right ', 'rïght'])
def test_no_other_token_does(token):
    with pytest.raises(UnknownToken):
        AUTHORITY.check(token, 'any.access', None)
    with pytest.raises(UnknownToken):
        AUTHORITY.details(token)


def test_there_is_no_other_tenant():
    with pytest.raises(MissingPermission):
        AUTHORITY.check('right', 'any.access', 'other')


def test_a_guest_finds_no_wazo_auth_in_standalone():
    client = NoAuthClient()
    client.set_token('t')
    with pytest.raises(requests.ConnectionError):
        client.users.get('u')
