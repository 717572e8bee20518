"""Says step by step whether a delivery to a URL would be let out, and which rule decides."""

from __future__ import annotations

import functools
import time
from typing import Any, Final

from wazo_webhookd.domain.endpoint import Authority, BadURL, literal_authority, parse
from wazo_webhookd.egress.guard import EgressRefused, Guard, GuardSettings, Role
from wazo_webhookd.egress.resolver import LookupFailed, Resolver, SystemResolver

LOOKUP_SECONDS: Final = 5.0

_system_resolver = functools.cache(SystemResolver)


def explain(url: str, role: Role, settings: GuardSettings, resolver: Resolver | None = None) -> dict[str, Any]:
    """What ``POST /egress/check`` answers for a URL or a template of one: ``allowed``, ``verdict`` and ``steps``.

    ``verdict``: ALLOW, ALLOW_ESCAPED (values of the template are percent-encoded), REJECT_URL (refused as
    written), BLOCK_ADDR (refused for an address), RETRYABLE (the name has no address now). Looks the name up.
    """
    steps: list[dict[str, Any]] = []

    def step(rule: str, detail: str, passed: bool = True) -> None:
        steps.append({'rule': rule, 'passed': passed, 'detail': detail})

    try:
        verdict = _walk(url.removesuffix('\n'), role, Guard(settings), resolver or _system_resolver(), step)
    except BadURL as error:
        step(error.rule, error.detail, False)
        verdict = 'REJECT_URL'
    except EgressRefused as error:
        step(error.rule, error.public if role == 'user' else error.private, False)
        verdict = error.verdict
    except LookupFailed as error:
        step('lookup', str(error), False)
        verdict = 'RETRYABLE'
    return {'allowed': verdict in ('ALLOW', 'ALLOW_ESCAPED'), 'verdict': verdict, 'steps': steps}


def _walk(url: str, role: Role, guard: Guard, resolver: Resolver, step: Any) -> str:
    verdict = 'ALLOW'
    authority: Authority | None
    if '{' in url:
        authority = literal_authority(url)
        if authority is None and role == 'user':
            raise BadURL('url-template', 'scheme, host and port have to be written out before the first brace')
        if authority is None:
            step('url-template', 'the template may set the host: the rendered URL is judged at each delivery')
            return verdict
        step('url-template', f'no value can change the origin {authority.origin}')
        if role == 'user':
            verdict = 'ALLOW_ESCAPED'
    else:
        authority = parse(url, spaces=role == 'admin').authority
        step('url', f'leads to {authority.origin}')
    if authority.credentials is not None:
        step('url-userinfo', 'name and password are sent as Basic authorization')
    if authority.address is None:
        guard.judge_name(authority.host, role)
        step('name', 'not an internal name' if role == 'user' else 'not the name of a metadata service')
    guard.judge_port(authority.port, role)
    step('port', f'port {authority.port} may be called')
    if authority.address is not None:
        addresses = [authority.address]
    else:
        started = time.monotonic()
        addresses = list(resolver.lookup(authority.host, LOOKUP_SECONDS))
        step('lookup', f'{len(addresses)} addresses in {round(1000 * (time.monotonic() - started))} ms')
    guard.judge_addresses(addresses, role)
    shown = ', '.join(map(str, addresses[:8])) if role == 'admin' else 'all addresses of the name'
    step('address', f'open: {shown}')
    return verdict
