"""Keeps a valid token of our own service account (rest.md 2.7)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, MutableMapping
from typing import Any, Final

import requests

from .client import AuthClient

logger = logging.getLogger(__name__)

EXPIRATION_SECONDS: Final = 21600
RENEW_SHARE: Final = 0.8
FIRST_DELAY_SECONDS: Final = 1
LONGEST_DELAY_SECONDS: Final = 32
TRUST_SECONDS: Final = 3

Details = dict[str, Any]


class TokenRenewer:
    """One thread that logs in, renews at 0.8 of the token's life and tells everybody who wants to know."""

    def __init__(self, client: AuthClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._details: Details | None = None
        self._checked_at = 0.0
        self._lock = threading.Lock()
        self._checking = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._every_token: list[Callable[[str], object]] = []
        self._every_details: list[Callable[[Details], object]] = []
        self._next_token: list[Callable[[str], object]] = []
        self._next_details: list[Callable[[Details], object]] = []
        self._thread = threading.Thread(target=self._run, name='service-token', daemon=True)

    # -- for those who want to know; exceptions of callbacks are logged and swallowed

    def subscribe_to_token_change(self, callback: Callable[[str], object]) -> None:
        """``callback(token)`` at every renewal, and now if there is a token."""
        with self._lock:
            self._every_token.append(callback)
            details = self._details
        if details is not None:
            _tell(callback, details['token'])

    def subscribe_to_token_details_change(self, callback: Callable[[Details], object]) -> None:
        with self._lock:
            self._every_details.append(callback)
            details = self._details
        if details is not None:
            _tell(callback, details)

    def subscribe_to_next_token_change(self, callback: Callable[[str], object]) -> None:
        """``callback(token)`` at the next renewal only."""
        with self._lock:
            self._next_token.append(callback)

    def subscribe_to_next_token_details_change(self, callback: Callable[[Details], object]) -> None:
        with self._lock:
            self._next_details.append(callback)

    # -- life

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1)

    def session_deleted(self, session_uuid: str) -> None:
        """Somebody deleted a session: renew at once if it is ours."""
        details = self._details
        if details is not None and details.get('session_uuid') == session_uuid:
            self._lost()

    # -- status

    def provide_status(self, status: MutableMapping[str, Any]) -> None:
        status['service_token']['status'] = 'ok' if self.is_valid() else 'fail'

    def is_valid(self) -> bool:
        """Whether there is a token that wazo-auth still knows (asked at most every few seconds)."""
        details = self._details
        if details is None:
            return False
        with self._checking:
            if self._clock() - self._checked_at < TRUST_SECONDS:
                return self._details is not None
            try:
                valid = self._client.token.is_valid(details['token'])
            except requests.RequestException:
                return False
            self._checked_at = self._clock()
        if not valid and self._details is details:
            self._lost()
        return valid

    # -- the thread

    def _run(self) -> None:
        delay = FIRST_DELAY_SECONDS
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                details = self._client.token.new(expiration=EXPIRATION_SECONDS)
                if not isinstance(details.get('token'), str):
                    raise requests.exceptions.InvalidJSONError('the answer has no token')
            except Exception as error:
                logger.warning(
                    'No service token from wazo-auth at %s (%s), trying again in %d s',
                    self._client.base_url, _reason(error), delay,
                )  # fmt: skip
                self._stopping.wait(delay)
                delay = min(delay * 2, LONGEST_DELAY_SECONDS)
                continue
            delay = FIRST_DELAY_SECONDS
            self._renewed(details)
            self._wake.wait(EXPIRATION_SECONDS * RENEW_SHARE)

    def _renewed(self, details: Details) -> None:
        self._client.set_token(details['token'])
        with self._lock:
            self._details = details
            self._checked_at = self._clock()
            on_token = [*self._every_token, *self._next_token]
            on_details = [*self._every_details, *self._next_details]
            self._next_token, self._next_details = [], []
        logger.info('The service token has been renewed')
        for tell_details in on_details:
            _tell(tell_details, details)
        for tell_token in on_token:
            _tell(tell_token, details['token'])

    def _lost(self) -> None:
        logger.warning('The service token is not valid any more: logging in again')
        self._details = None
        self._wake.set()


def _tell(callback: Callable[[Any], object], news: Any) -> None:
    try:
        callback(news)
    except Exception:
        logger.exception('A callback for the service token failed')


def _reason(error: Exception) -> str:
    """What went wrong in words that hold no secret."""
    response = getattr(error, 'response', None)
    if response is not None:
        return f'status {response.status_code}'
    return type(error).__name__
