"""Makes an event of what was posted: a pure function, with the wall between tenants in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from marshmallow import ValidationError

from ...domain.event import Event
from ...subscriptions.fields import error
from .raw_json import Member, is_deeper_than

DEPTH: Final = 199
"""As deep as in an event of the bus, where the whole body counts."""


def posted_event(
    asked: Mapping[str, Any],
    data: Member,
    *,
    uuid: str,
    scope_tenant: str,
    in_master_tenant: bool,
    origin_uuid: str,
    received_at: datetime,
    max_bytes: int,
) -> Event:
    """``asked``: ``name``, ``origin_uuid``, ``headers``, validated. Raises ValidationError.

    The event's tenant is the scope tenant, whatever the headers say; only the master tenant may name another
    or (with null or an empty text) none. As on the bus, the body repeats the headers.
    """
    if is_deeper_than(DEPTH, data.value):
        raise ValidationError({'data': [error(f'Nested more than {DEPTH} deep.', 'depth', {'max': DEPTH})]})
    headers: dict[str, Any] = dict(asked['headers'])
    tenant = headers.pop('tenant_uuid', scope_tenant) if in_master_tenant else scope_tenant
    headers |= {'name': asked['name'], 'origin_uuid': asked['origin_uuid'] or origin_uuid}
    if tenant:
        headers['tenant_uuid'] = tenant
    else:
        headers.pop('tenant_uuid', None)
    body = {**headers, 'data': data.value}
    pieces = [f'{json.dumps(key)}: {json.dumps(value)}' for key, value in headers.items() if key != 'data']
    text = f'{{{", ".join(pieces)}, "data": {data.text}}}'
    if len(text.encode()) > max_bytes:
        too_long = error(f'Longer than maximum length {max_bytes}.', 'length', {'max': max_bytes})
        raise ValidationError({'data': [too_long]})
    return Event(
        uuid=uuid, name=asked['name'], headers=headers, body=body, text=text, source='rest', received_at=received_at
    )
