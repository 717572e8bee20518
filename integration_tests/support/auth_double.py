"""A small wazo-auth over real HTTP: tokens with their accesses, tenants, users, credentials, external data.

It can be taken down, made to hang or to fail, and remembers every request it got.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from integration_tests.support.ports import free_port

MASTER = 'aaaaaaaa-0000-4000-8000-000000000001'
SERVICE = ('webhookd-service', 'webhookd-password')
SERVICE_ACL = (
    'auth.mobile.external.config.read',
    'auth.tenants.read',
    'auth.users.*.external.mobile.read',
    'auth.users.*.read',
    'auth.users.read',
)


@dataclass
class Token:
    """What a token stands for; ``acl`` None accepts everything."""

    token: str
    tenant_uuid: str
    user_uuid: str | None = None
    acl: tuple[str, ...] | None = None
    session_uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    wazo_uuid: str = ''

    def permits(self, access: str) -> bool:
        """Whether the granted accesses cover this one (a leading ``!`` denies and wins)."""
        if self.acl is None:
            return True
        denied = any(self._matches(granted[1:], access) for granted in self.acl if granted.startswith('!'))
        return not denied and any(self._matches(granted, access) for granted in self.acl if not granted.startswith('!'))

    def _matches(self, granted: str, access: str) -> bool:
        return re.fullmatch(r'\.'.join(map(self._segment, granted.split('.'))), access) is not None

    def _segment(self, word: str) -> str:
        synonyms = {'me': self.user_uuid, 'my_session': self.session_uuid, 'edit': 'update'}
        pattern = re.escape(word).replace(r'\*', '[^.#]*').replace(r'\#', '.*')
        synonym = synonyms.get(word)
        return f'(?:{pattern}|{re.escape(synonym)})' if synonym else pattern


@dataclass
class Request:
    """One request that arrived; header names in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    at: float


class AuthDouble:
    """Start it, tell it tokens and tenants, and give ``port`` to the daemon."""

    def __init__(self, prefix: str = '', wazo_uuid: str = '') -> None:
        self.port = free_port()
        self.prefix = prefix
        self.wazo_uuid = wazo_uuid
        self._server: ThreadingHTTPServer | None = None
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Nothing known but the service account and the master tenant; nothing recorded; no trouble."""
        with self._lock:
            self.tokens: dict[str, Token] = {}
            self.tenants: dict[str, str | None] = {MASTER: None}
            self.users: dict[str, dict[str, Any]] = {}
            self.accounts: dict[str, tuple[str, str, tuple[str, ...] | None]] = {
                SERVICE[0]: (SERVICE[1], MASTER, SERVICE_ACL)
            }
            self.external: dict[tuple[str, str], Any] = {}
            self.external_config: dict[tuple[str, str], Any] = {}
            self.requests: list[Request] = []
            self.status: int | None = None
            self.answers: dict[tuple[str, str], tuple[int, Any]] = {}
            self.delay = 0.0

    # -- what it knows ----------------------------------------------------------------------------

    def add_tenant(self, parent: str = MASTER, tenant_uuid: str | None = None) -> str:
        tenant_uuid = tenant_uuid or str(uuid.uuid4())
        self.tenants[tenant_uuid] = parent
        return tenant_uuid

    def add_user(self, tenant_uuid: str = MASTER, user_uuid: str | None = None, enabled: bool = True) -> str:
        user_uuid = user_uuid or str(uuid.uuid4())
        self.users[user_uuid] = {
            'uuid': user_uuid,
            'tenant_uuid': tenant_uuid,
            'username': f'user-{user_uuid[:8]}',
            'enabled': enabled,
            'purpose': 'user',
            'emails': [],
            'firstname': None,
            'lastname': None,
        }
        return user_uuid

    def add_token(
        self,
        tenant_uuid: str = MASTER,
        user_uuid: str | None = None,
        acl: tuple[str, ...] | None = None,
        token: str | None = None,
    ) -> str:
        token = token or str(uuid.uuid4())
        self.tokens[token] = Token(token, tenant_uuid, user_uuid, acl, wazo_uuid=self.wazo_uuid)
        return token

    def remove_token(self, token: str) -> None:
        self.tokens.pop(token, None)

    def add_account(
        self, username: str, password: str, tenant_uuid: str = MASTER, acl: tuple[str, ...] | None = None
    ) -> None:
        self.accounts[username] = (password, tenant_uuid, acl)

    def visible_from(self, tenant_uuid: str) -> list[str]:
        """The tenant itself and all below it, in the order they were added."""
        visible: list[str] = []
        for tenant in self.tenants:
            above: str | None = tenant
            while above is not None and above != tenant_uuid:
                above = self.tenants.get(above)
            if above == tenant_uuid:
                visible.append(tenant)
        return visible

    # -- up, down, in trouble ---------------------------------------------------------------------

    def start(self) -> None:
        double = self

        class Handler(_Handler):
            auth = double

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Clients may go away."""

        self._server = Server(('127.0.0.1', self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True, name='auth-double').start()

    def stop(self) -> None:
        """Refuse connections from now on; open ones are answered no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def up(self) -> bool:
        return self._server is not None

    def fail_with(self, status: int | None) -> None:
        """Answer everything with this status (None: behave again)."""
        self.status = status

    def answer(self, method: str, path: str, status: int, body: Any = None) -> None:
        """Answer this call (path without prefix and version, such as ``/tenants``) so from now on."""
        self.answers[(method, path)] = (status, body)

    def calls(self, method: str | None = None, path_start: str = '') -> list[Request]:
        """The requests so far whose path (without prefix and version) starts so."""
        with self._lock:
            seen = list(self.requests)
        return [item for item in seen if (method is None or item.method == method) and item.path.startswith(path_start)]

    def record(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)

    def describe(self, token: Token) -> dict[str, Any]:
        now = datetime.now(UTC).replace(tzinfo=None)
        later = now + timedelta(hours=6)
        return {
            'token': token.token,
            'auth_id': token.user_uuid or str(uuid.uuid4()),
            'session_uuid': token.session_uuid,
            'xivo_uuid': token.wazo_uuid,
            'xivo_user_uuid': token.user_uuid,
            'issued_at': now.isoformat(),
            'expires_at': later.isoformat(),
            'utc_issued_at': now.isoformat(),
            'utc_expires_at': later.isoformat(),
            'acl': list(token.acl if token.acl is not None else ('#',)),
            'remote_addr': '127.0.0.1',
            'user_agent': '',
            'metadata': {
                'uuid': token.user_uuid,
                'tenant_uuid': token.tenant_uuid,
                'pbx_user_uuid': token.user_uuid,
                'jwt': 'jwt',
            },
        }


class _Handler(BaseHTTPRequestHandler):
    auth: AuthDouble
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Requests are recorded, not printed."""

    def _any(self) -> None:
        parts = urlsplit(self.path)
        start = f'{self.auth.prefix}/0.1'
        length = int(self.headers.get('Content-Length') or 0)
        raw = self.rfile.read(length)
        path = parts.path.removeprefix(start) if parts.path.startswith(start) else f'?{parts.path}'
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        headers = {key.lower(): value for key, value in self.headers.items()}
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = raw.decode('latin-1')
        self.auth.record(Request(self.command, path, query, headers, body, time.time()))
        if self.auth.delay:
            time.sleep(self.auth.delay)
        if not self.auth.up:
            self.close_connection = True
            return
        status, answer = self._answer(path, query, headers, body)
        self._send(status, answer)

    do_GET = do_HEAD = do_POST = do_DELETE = do_PUT = _any

    def _send(self, status: int, answer: Any) -> None:
        text = (
            b''
            if answer is None or status == 204
            else answer
            if isinstance(answer, bytes)
            else json.dumps(answer).encode()
        )
        self.send_response(status)
        if status != 204:
            self.send_header('Content-Type', 'application/json')
            self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(text)

    def _answer(self, path: str, query: dict[str, str], headers: dict[str, str], body: Any) -> tuple[int, Any]:
        if self.auth.status is not None:
            return self.auth.status, _error(self.auth.status, 'told to fail')
        if (self.command, path) in self.auth.answers:
            return self.auth.answers[(self.command, path)]
        words = [unquote(word) for word in path.strip('/').split('/')]
        match (self.command, words):
            case ('POST', ['token']):
                return self._create_token(headers, body)
            case ('HEAD' | 'GET', ['token', token]):
                return self._check_token(token, query)
            case ('DELETE', ['token', token]):
                self.auth.remove_token(token)
                return 200, {'data': {'message': 'success'}}
            case ('HEAD' | 'GET', ['token']):
                return 404, _error(404, 'No such token')
            case ('GET', ['status']):
                return 200, {}
        caller = self.auth.tokens.get(headers.get('x-auth-token', ''))
        if caller is None:
            return 401, _error(401, 'Unauthorized')
        return self._read(words, headers, caller)

    def _create_token(self, headers: dict[str, str], body: Any) -> tuple[int, Any]:
        try:
            username, _, password = base64.b64decode(headers['authorization'].partition(' ')[2]).decode().partition(':')
        except (KeyError, ValueError):
            return 401, _error(401, 'Authentication Failed')
        known = self.auth.accounts.get(username)
        if known is None or known[0] != password:
            return 401, _error(401, 'Authentication Failed')
        token = self.auth.tokens[self.auth.add_token(known[1], acl=known[2])]
        return 200, {'data': self.auth.describe(token)}

    def _check_token(self, token: str, query: dict[str, str]) -> tuple[int, Any]:
        known = self.auth.tokens.get(token)
        if known is None:
            return 404, _error(404, 'No such token')
        tenant = query.get('tenant')
        if tenant and tenant not in self.auth.visible_from(known.tenant_uuid):
            return 403, _error(403, 'Forbidden')
        scope = query.get('scope')
        if scope and not known.permits(scope):
            return 403, _error(403, 'Forbidden')
        return (204, None) if self.command == 'HEAD' else (200, {'data': self.auth.describe(known)})

    def _read(self, words: list[str], headers: dict[str, str], caller: Token) -> tuple[int, Any]:
        tenant = headers.get('wazo-tenant') or caller.tenant_uuid
        visible = self.auth.visible_from(caller.tenant_uuid)
        match words:
            case ['tenants']:
                if tenant not in visible or not caller.permits('auth.tenants.read'):
                    return 401, _error(401, 'Unauthorized')
                items = [{'uuid': item, 'name': item[:8], 'parent_uuid': self.auth.tenants[item] or item}
                         for item in self.auth.visible_from(tenant)]  # fmt: skip
                return 200, {'items': items, 'total': len(items), 'filtered': len(items)}
            case ['users']:
                if not caller.permits('auth.users.read'):
                    return 401, _error(401, 'Unauthorized')
                users = [user for user in self.auth.users.values() if user['tenant_uuid'] in visible]
                return 200, {'items': users, 'total': len(users), 'filtered': len(users)}
            case ['users', user] if caller.permits(f'auth.users.{user}.read'):
                found = self.auth.users.get(user)
                return (200, found) if found else (404, _error(404, 'No such user'))
            case ['users', user, 'external', name] if caller.permits(f'auth.users.{user}.external.{name}.read'):
                data = self.auth.external.get((user, name))
                return (404, _error(404, 'No such external auth')) if data is None else (200, data)
            case ['external', name, 'config'] if caller.permits(f'auth.{name}.external.config.read'):
                data = self.auth.external_config.get((tenant, name))
                return (404, _error(404, 'No such external config')) if data is None else (200, data)
            case ['users', _] | ['users', _, 'external', _] | ['external', _, 'config']:
                return 401, _error(401, 'Unauthorized')
        return 404, _error(404, 'Not found')


def _error(status: int, reason: str) -> dict[str, Any]:
    return {'reason': [reason], 'timestamp': [time.time()], 'status_code': status}
