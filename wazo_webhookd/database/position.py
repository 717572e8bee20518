"""Where a daemon is: at which version of the subscriptions, and whether it is alone."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from sqlalchemy import Text, column, literal_column, select, table

from .models import Process
from .processes import living_ids
from .quick import Prepared, prepared
from .session import Database

_process = Process.__table__
_fact = table('webhookd_fact', column('name'), column('number'))


class Position(NamedTuple):
    version: int
    others: bool
    """Does another daemon live?"""


@cache
def _statement() -> Prepared:
    version = select(_fact.c.number).where(_fact.c.name == literal_column("'index_version'")).scalar_subquery()
    others = living_ids().where(_process.c.kind == 'daemon', _process.c.id != literal_column('$1', Text)).exists()
    return prepared('webhookd_position', 'text', select(version, others))


def read(database: Database, life: str) -> Position | None:
    """Of the daemon with this life. None on SQLite, where asking would cost as much as reading. Raises
    DatabaseUnavailable."""
    if database.quick is None:
        return None
    ((version, others),) = database.quick.rows(_statement(), (life,))
    return Position(version or 0, others)
