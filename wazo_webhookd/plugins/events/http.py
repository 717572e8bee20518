"""``POST /events``: an event comes in, and is in the journal when the answer leaves."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from flask import request
from werkzeug.exceptions import BadRequest

from ...auth import in_master_tenant, required_acl, scope_tenant
from ...deliveries.intake import Arrival, EventRefused
from ...domain.event import Event
from ...exceptions import DatabaseUnavailable
from ...rest_api import AuthResource, InvalidData
from ..house import House
from .event import posted_event
from .raw_json import Member, members
from .schema import event_schema

PATIENCE_SECONDS: Final = 8
"""How long a caller waits for the commit; below the ten seconds after which Wazo's clients give up."""


class EventsResource(AuthResource):
    def __init__(self, house: House) -> None:
        self._house = house

    @required_acl('webhookd.events.create')
    def post(self) -> tuple[dict[str, Any], int]:
        given = _members()
        asked = event_schema.load({key: member.value for key, member in given.items()})
        is_master = in_master_tenant()
        event = posted_event(
            asked,
            given['data'],
            uuid=str(uuid4()),
            scope_tenant=scope_tenant(),
            in_master_tenant=is_master,
            origin_uuid=str(self._house.config.uuid),
            received_at=datetime.now(UTC),
            max_bytes=self._house.config.bus.max_event_bytes,
        )
        deliveries = self._journal(event)
        if is_master:
            self._house.tell_guests(event)
        return {'uuid': event.uuid, 'deliveries': deliveries}, 202

    def _journal(self, event: Event) -> int:
        """Hand the event to intake and wait for its commit. Raises what kept it from being journaled."""
        answered = threading.Event()
        answers: list[int | Exception] = []

        def done(answer: int | Exception) -> None:
            answers.append(answer)
            answered.set()

        self._house.intake.submit(Arrival(event, done))
        if not answered.wait(PATIENCE_SECONDS):
            raise DatabaseUnavailable('The event was not journaled in time.')
        answer = answers[0]
        if isinstance(answer, EventRefused):
            raise InvalidData({'data': ['The event cannot be stored.']})
        if isinstance(answer, Exception):
            raise answer
        return answer


def _members() -> dict[str, Member]:
    """The members of the posted object. Raises BadRequest, or ValidationError when it is no object."""
    if not request.is_json:
        raise BadRequest
    try:
        found = members(request.get_data().decode('utf-8'))
    except (ValueError, RecursionError):
        raise BadRequest from None
    if found is None:
        event_schema.load([])  # raises: an object is expected
        raise AssertionError('a list is no event')
    return found
