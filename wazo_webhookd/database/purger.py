"""What wazo-purge-db runs every night: old rows of the log go.

That program brings its own SQLAlchemy (1.4 on Debian 12) and session, so nothing but the tables may be imported here.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from .models import SubscriptionLog


class SubscriptionLogsPurger:
    """Entry point ``webhookd-logs`` of the group ``wazo_purge_db.purgers``."""

    def purge(self, days_to_keep: int, session: Any) -> None:
        """Delete log rows started more than ``days_to_keep`` days before now (0: all). The caller commits."""
        log = SubscriptionLog.__table__
        oldest_kept = datetime.now().astimezone() - timedelta(days=days_to_keep)
        session.execute(log.delete().where(log.c.started_at < oldest_kept))
