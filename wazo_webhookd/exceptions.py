"""The root of every error that the program raises on purpose.

    WebhookdError
    ├── ConfigError            configuration that cannot be used (one line per fault)
    ├── DatabaseUnavailable    the database cannot be reached now; the caller may try again
    ├── SchemaBehind           the database's schema is older (or newer) than the program
    └── (one small tree per floor, drawn in that floor's module)

An exception's docstring is its message unless one is given.
"""

from __future__ import annotations


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
