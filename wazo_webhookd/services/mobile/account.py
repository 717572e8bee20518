"""What wazo-auth knows of a user's application, and of the platform's accounts at the push services."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import requests

if TYPE_CHECKING:
    from ...auth.client import AuthClient

TOKEN_SECONDS: Final = 3600
TOKEN_MARGIN_SECONDS: Final = 300

Result = TypeVar('Result')


class AuthAway(Exception):
    """wazo-auth cannot be asked now; the message says why, without secrets."""


class AuthRefused(Exception):
    """wazo-auth answered no. ``status`` is that of its answer."""

    def __init__(self, what: str, status: int) -> None:
        self.status = status
        super().__init__(f'wazo-auth answered {status} when asked for {what}')


@dataclass(frozen=True, slots=True)
class Account:
    """``tokens``: of the user's application; ``push``: the push configuration of the user's tenant."""

    tokens: Mapping[str, Any]
    push: Mapping[str, Any]
    jwt: str


class Accounts:
    """Asks wazo-auth with a token of its own, kept for as long as it lasts. Thread-safe."""

    def __init__(self, client: AuthClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._lock = threading.Lock()
        self._jwt = ''
        self._good_until: float | None = None

    def of(self, user_uuid: str) -> Account:
        """Raises AuthAway (worth another attempt) or AuthRefused (404: the user has no mobile application)."""
        tokens = self._ask('the application of the user', lambda: self._client.external.get('mobile', user_uuid))
        user = self._ask('the user', lambda: self._client.users.get(user_uuid))
        tenant = user.get('tenant_uuid')
        try:
            push = self._ask('the push configuration', lambda: self._client.external.get_config('mobile', tenant))
        except AuthRefused as refusal:
            if refusal.status != 404:
                raise
            push = {}
        return Account(tokens, push, self._jwt)

    def _ask(self, what: str, question: Callable[[], Result]) -> Result:
        """A 401 means that the token ended early: once, another token is asked for."""
        for is_last in (False, True):
            used = self._token()
            try:
                return question()
            except requests.HTTPError as error:
                status = _status(error)
                if status == 401 and not is_last:
                    self._forget(used)
                    continue
                if status in (401, 429) or status >= 500:
                    raise AuthAway(f'wazo-auth answered {status} when asked for {what}') from error
                raise AuthRefused(what, status) from error
            except requests.RequestException as error:
                raise AuthAway(f'wazo-auth cannot be reached: {type(error).__name__}') from error
        raise AssertionError('unreachable')

    def _token(self) -> float:
        """Have a token that is good; returns until when, which tells it from other ones."""
        with self._lock:
            if self._good_until is None or self._clock() >= self._good_until:
                self._good_until = None
                try:
                    details = self._client.token.new(backend='wazo_user', expiration=TOKEN_SECONDS)
                except requests.HTTPError as error:
                    raise AuthAway(f'wazo-auth answered {_status(error)} when asked for a token') from error
                except requests.RequestException as error:
                    raise AuthAway(f'wazo-auth cannot be reached: {type(error).__name__}') from error
                metadata = details.get('metadata')
                self._jwt = str((metadata.get('jwt') if isinstance(metadata, Mapping) else None) or '')
                self._client.set_token(str(details.get('token') or ''))
                self._good_until = self._clock() + TOKEN_SECONDS - TOKEN_MARGIN_SECONDS
            return self._good_until

    def _forget(self, good_until: float) -> None:
        with self._lock:
            if self._good_until == good_until:
                self._good_until = None


def _status(error: requests.HTTPError) -> int:
    return 0 if error.response is None else int(error.response.status_code)


class AccountsOfProcess:
    """One Accounts per wazo-auth and login, made when first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Accounts] = {}

    def at(self, auth: Mapping[str, Any]) -> Accounts:
        """``auth``: the configuration section of that name, credentials included."""
        from ...auth.client import AuthClient  # brings Flask along, which a worker needs for a push only

        key = repr(sorted((name, str(value)) for name, value in auth.items()))
        with self._lock:
            if key not in self._known:
                self._known[key] = Accounts(AuthClient(**{str(name): value for name, value in auth.items()}))
            return self._known[key]
