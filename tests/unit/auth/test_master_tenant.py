import pytest

from wazo_webhookd.auth.errors import MasterTenantNotInitialized
from wazo_webhookd.auth.master_tenant import MasterTenant
from wazo_webhookd.status import Status


def status_of(master_tenant):
    status = Status()
    master_tenant.provide_status(status)
    return status['master_tenant']['status']


def test_nobody_knows_it_at_first():
    master_tenant = MasterTenant()

    assert master_tenant.best_known is None
    assert status_of(master_tenant) == 'fail'
    with pytest.raises(MasterTenantNotInitialized) as caught:
        master_tenant.require()
    assert caught.value.status_code == 503
    assert caught.value.error_id == 'master-tenant-not-initialized'


def test_a_remembered_one_is_good_for_matching_only():
    master_tenant = MasterTenant()
    master_tenant.remember('m')

    assert master_tenant.best_known == 'm'
    assert master_tenant.confirmed is None
    assert status_of(master_tenant) == 'fail'


def test_a_service_token_confirms_it():
    master_tenant = MasterTenant()
    master_tenant.on_token({'token': 't', 'metadata': {'tenant_uuid': 'm'}})

    assert master_tenant.require() == 'm'
    assert status_of(master_tenant) == 'ok'


def test_it_is_refreshed_by_later_tokens():
    master_tenant = MasterTenant()
    master_tenant.confirm('m')
    master_tenant.confirm('n')

    assert master_tenant.require() == 'n'


def test_what_the_configuration_says_stays():
    master_tenant = MasterTenant(pinned='p')
    master_tenant.confirm('m')
    master_tenant.remember('r')

    assert master_tenant.require() == 'p'


@pytest.mark.parametrize('details', [{}, {'metadata': None}, {'metadata': {'tenant_uuid': None}}])
def test_a_token_without_tenant_changes_nothing(details):
    master_tenant = MasterTenant()
    master_tenant.confirm('m')
    master_tenant.on_token(details)

    assert master_tenant.require() == 'm'


def test_observers_hear_of_changes_only():
    heard = []
    master_tenant = MasterTenant()
    master_tenant.subscribe(heard.append)
    master_tenant.remember('m')
    master_tenant.confirm('m')
    master_tenant.confirm('n')

    assert heard == ['m', 'n']


def test_a_late_observer_hears_what_is_known():
    heard = []
    MasterTenant(pinned='p').subscribe(heard.append)

    assert heard == ['p']
