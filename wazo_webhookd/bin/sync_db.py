"""The command ``wazo-webhookd-sync-db``: delete subscriptions of tenants and users that wazo-auth no longer has."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from wazo_webhookd import __version__

if TYPE_CHECKING:
    from wazo_webhookd.config import Config
    from wazo_webhookd.database.session import Database

logger = logging.getLogger('wazo-webhookd-sync-db')

TOKEN_SECONDS: Final = 300

DONE = 0
FAILED = 1
SCHEMA_BEHIND = 3

_EPILOG = """\
examples:
  wazo-webhookd-sync-db --dry-run       what would be deleted
  wazo-webhookd-sync-db -d              delete it, and say what
  wazo-webhookd-sync-db -c my.yml -q    delete it without a word, with another configuration

Running daemons are told: nothing has to be restarted.

exit codes:
  0  done, or nothing to do
  1  nothing, or not everything, was deleted: wazo-auth or the database is away, wazo-auth answers that there is
     not a single tenant or user, or the configuration cannot be used
  2  bad command line
  3  the database's schema does not fit: run wazo-webhookd-init-db
"""


class Authority(Protocol):
    """What is asked of wazo-auth."""

    def tenants(self) -> set[str]: ...

    def users(self) -> set[str]: ...


class Remover(Protocol):
    """What is asked of the subscriptions."""

    def delete_of_tenant(self, tenant_uuid: str) -> int: ...

    def delete_of_user(self, user_uuid: str) -> int: ...


@dataclass(frozen=True, slots=True)
class Gone:
    """Tenants and users in the database that wazo-auth does not know; how many subscriptions are theirs."""

    tenants: Sequence[str]
    users: Sequence[str]
    subscriptions: int


class Refusal(Exception):
    """The answer of wazo-auth cannot be right: nothing is deleted."""


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog='wazo-webhookd-sync-db',
        description='Delete the subscriptions of tenants and users that wazo-auth no longer has.',
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument('-c', '--config-file', metavar='FILE', help='main configuration file of wazo-webhookd')
    options.add_argument('--dry-run', action='store_true', help='only say what would be deleted')
    options.add_argument('-d', '--debug', action='store_true', help='say what is found and what is deleted')
    options.add_argument('-q', '--quiet', action='store_true', help='say nothing but errors')
    options.add_argument('--version', action='version', version=f'wazo-webhookd {__version__}')
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code."""
    options = parser().parse_args(argv)
    verbose = options.debug and not options.quiet
    logging.basicConfig(format='%(message)s', level=logging.WARNING, stream=sys.stderr)
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING)

    import requests

    from wazo_webhookd import config
    from wazo_webhookd.exceptions import SchemaBehind, WebhookdError

    try:
        overrides = {'config_file': options.config_file} if options.config_file else {}
        summary = _run(config.load(overrides, uuid_required=False), dry_run=options.dry_run)
    except SchemaBehind as error:
        return _fail(str(error), SCHEMA_BEHIND)
    except requests.HTTPError as error:
        return _fail(f'wazo-auth refuses: {error} (are auth.username and auth.password, or the key file, right?)')
    except requests.RequestException as error:
        return _fail(f'wazo-auth cannot be asked: {error}')
    except (Refusal, WebhookdError) as error:
        return _fail(str(error))
    if not options.quiet:
        print(summary)
    return DONE


def _run(config: Config, *, dry_run: bool) -> str:
    from wazo_webhookd.database import schema
    from wazo_webhookd.database.session import Database
    from wazo_webhookd.subscriptions.service import SubscriptionService

    database = Database.from_uri(config.db_uri, pool_size=2, application_name='wazo-webhookd-sync-db')
    schema.check(database)
    service = SubscriptionService(config.tree)
    return synchronise(database, _WazoAuth(config.auth.model_dump()), service, dry_run=dry_run)


def synchronise(database: Database, authority: Authority, remover: Remover, *, dry_run: bool = False) -> str:
    """Delete what belongs to nobody and return a sentence about it.

    What is stored is read before wazo-auth is asked, so that nobody who comes in between is taken for gone.
    Raises Refusal, DatabaseUnavailable and whatever ``authority`` raises.
    """
    owners = _owners(database)
    tenants, users = authority.tenants(), authority.users()
    logger.debug('Found %d wazo-auth tenants', len(tenants))
    logger.debug('Found %d wazo-auth users', len(users))
    logger.debug('Found %d webhookd tenants', len({tenant for tenant, _, _ in owners}))
    logger.debug('Found %d webhookd users', len({user for _, *two in owners for user in two if user is not None}))
    gone = find_gone(owners, tenants, users)
    if dry_run:
        _tell(gone, 'Would remove')
        return _sentence('Would delete', gone.subscriptions, gone)
    deleted = 0
    for kind, uuids, delete in _work(gone, remover):
        for uuid in uuids:
            logger.debug('Removing %s and its related data: %s', kind, uuid)
            deleted += delete(uuid)
    return _sentence('Deleted', deleted, gone)


def find_gone(
    owners: Mapping[tuple[str, str | None, str | None], int], tenants: Iterable[str], users: Iterable[str]
) -> Gone:
    """``owners``: how many subscriptions there are by owner tenant, owner user and user of the events.

    Raises Refusal when wazo-auth knows no tenant or no user at all: it always knows its own.
    """
    from wazo_webhookd.domain.subscription import MASTER

    known_tenants = {uuid.lower() for uuid in tenants}
    known_users = {uuid.lower() for uuid in users}
    for kind, known in (('tenant', known_tenants), ('user', known_users)):
        if not known:
            raise Refusal(f'wazo-auth answers that there is not a single {kind}: nothing is deleted')
    lost_tenants: set[str] = set()
    lost_users: set[str] = set()
    count = 0
    for (tenant, *two), subscriptions in owners.items():
        lost_here = {user for user in two if user is not None and user.lower() not in known_users}
        tenant_lost = tenant != MASTER and tenant.lower() not in known_tenants
        if tenant_lost:
            lost_tenants.add(tenant)
        lost_users |= lost_here
        count += subscriptions if tenant_lost or lost_here else 0
    return Gone(sorted(lost_tenants), sorted(lost_users), count)


class _WazoAuth:
    """wazo-auth, seen by our service account."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        from wazo_webhookd.auth.client import AuthClient

        self._client = AuthClient(**settings)
        token = self._client.token.new(expiration=TOKEN_SECONDS).get('token')
        if not isinstance(token, str):
            raise Refusal('wazo-auth answers without a token: nothing is deleted')
        self._client.set_token(token)

    def tenants(self) -> set[str]:
        return _uuids('tenants', self._client.tenants.list())

    def users(self) -> set[str]:
        return _uuids('users', self._client.users.list(recurse=True))


def _uuids(what: str, answer: Mapping[str, Any]) -> set[str]:
    items = answer.get('items')
    if not isinstance(items, list):
        raise Refusal(f'wazo-auth answers something else than a list of {what}: nothing is deleted')
    uuids = {str(item['uuid']) for item in items if isinstance(item, dict) and item.get('uuid')}
    total = answer.get('filtered', answer.get('total'))
    if len(uuids) < len(items) or (isinstance(total, int) and total > len(items)):
        raise Refusal(f'wazo-auth answers only a part of its {what}: nothing is deleted')
    return uuids


def _owners(database: Database) -> dict[tuple[str, str | None, str | None], int]:
    from sqlalchemy import func, select

    from wazo_webhookd.database.models import Subscription

    table = Subscription.__table__.c
    columns = (table.owner_tenant_uuid, table.owner_user_uuid, table.events_user_uuid)
    with database.reading() as connection:
        rows = connection.execute(select(*columns, func.count()).group_by(*columns))
        return {(row[0], row[1], row[2]): row[3] for row in rows}


def _work(gone: Gone, remover: Remover) -> list[tuple[str, Sequence[str], Callable[[str], int]]]:
    return [('tenant', gone.tenants, remover.delete_of_tenant), ('user', gone.users, remover.delete_of_user)]


def _tell(gone: Gone, what: str) -> None:
    for kind, uuids in (('tenant', gone.tenants), ('user', gone.users)):
        for uuid in uuids:
            logger.debug('%s %s and its related data: %s', what, kind, uuid)


def _sentence(verb: str, subscriptions: int, gone: Gone) -> str:
    tenants, users = len(gone.tenants), len(gone.users)
    if not tenants and not users:
        return 'Nothing to delete: every subscription has its tenant and its user.'
    return (
        f'{verb} {_count(subscriptions, "subscription")} of {_count(tenants, "tenant")} and {_count(users, "user")} '
        'that wazo-auth no longer has.'
    )


def _count(number: int, noun: str) -> str:
    return f'{number} {noun}' if number == 1 else f'{number} {noun}s'


def _fail(message: str, code: int = FAILED) -> int:
    print(f'wazo-webhookd-sync-db: {message}', file=sys.stderr)
    return code


if __name__ == '__main__':
    sys.exit(main())
