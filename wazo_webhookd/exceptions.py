"""The root of every error that the program raises on purpose.

    WebhookdError
    ├── ConfigError            configuration that cannot be used (one line per fault)
    ├── DatabaseUnavailable    the database cannot be reached now; the caller may try again
    ├── SchemaBehind           the database's schema is older (or newer) than the program
    ├── APIException           what a REST client is told, with its status code and error id
    └── (one small tree per floor, drawn in that floor's module)

An exception's docstring is its message unless one is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class WebhookdError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__ or type(self).__name__)


class ConfigError(WebhookdError):
    """The configuration cannot be used."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__('\n'.join(faults))


class DatabaseUnavailable(WebhookdError):
    """The database cannot be reached."""


class SchemaBehind(WebhookdError):
    """The database's schema does not fit this program: run wazo-webhookd-init-db."""


class APIException(WebhookdError):
    """The request cannot be carried out.

    Answered as ``{"message", "error_id", "details", "timestamp"}`` with ``status_code``; ``details``
    is what a client may look at, ``resource`` is shown only when set.
    """

    def __init__(
        self,
        status_code: int,
        message: str,
        error_id: str,
        details: Mapping[str, Any] | None = None,
        resource: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.message = message
        self.error_id = error_id
        self.details: dict[str, Any] = dict(details or {})
        self.resource = resource
