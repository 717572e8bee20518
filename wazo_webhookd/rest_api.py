"""The REST application: what every endpoint has in common.

``app``, ``api``, ``AuthResource``, ``ErrorCatchingResource``, ``auth_verifier`` and ``VERSION`` are kept
for guests, who import them. An error looks the same wherever it was raised (rest.md 1.3):
``{"message", "error_id", "details", "timestamp"}`` for what we raise on purpose,
``{"message"}`` for what the framework refuses, an HTML page for unknown routes.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, cast

import flask_restful
from flask import Flask, Response, request
from marshmallow import ValidationError
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge, UnsupportedMediaType

from .auth.verifier import auth_verifier
from .cors import allow_origins
from .domain import numbers
from .exceptions import APIException, DatabaseUnavailable, SchemaBehind
from .http_server import HttpServer
from .request_log import log_api_error, log_requests

if TYPE_CHECKING:
    from .settings import RestApi

__all__ = [
    'VERSION',
    'APIException',
    'AuthResource',
    'ErrorCatchingResource',
    'HttpServer',
    'InvalidData',
    'api',
    'app',
    'auth_verifier',
    'configure',
    'json_body',
    'new_application',
]

logger = logging.getLogger(__name__)

VERSION: Final = '1.0'
MAX_BODY_BYTES: Final = 16 * 1024 * 1024
JSON_TYPE: Final = 'application/json'


class InvalidData(APIException):
    """Answered for what a client sent; ``details`` mirrors the input (rest.md 1.4)."""

    def __init__(self, details: Mapping[str, Any]) -> None:
        super().__init__(400, 'Sent data is invalid', 'invalid-data', details)


# -- bodies


def json_body(*, any_content_type: bool = False, finite: bool = True) -> Any:
    """The JSON value of the request's body, whatever kind of value it is.

    Raises BadRequest (400 without an error id) for a missing or malformed body, for a content type
    that is not JSON unless ``any_content_type``, and for numbers beyond a float when ``finite``.
    """
    if not any_content_type and not request.is_json:
        raise BadRequest
    try:
        return json.loads(request.get_data(), parse_constant=_refuse, parse_float=_finite if finite else float)
    except (ValueError, RecursionError):
        raise BadRequest from None


def _refuse(text: str) -> NoReturn:
    raise ValueError(f'{text} is not JSON')


def _finite(text: str) -> float:
    number = float(text)
    if number in (float('inf'), float('-inf')):
        raise ValueError('a number beyond what a float holds')
    return number


def json_response(data: Any, code: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """One line of ASCII JSON (``1e400`` as it was stored); no body at all for answers that have none."""
    text = '' if code in (204, 304) else f'{numbers.dumps(data)}\n'
    response = Response(text, code, content_type=JSON_TYPE)
    response.headers.extend(headers or {})
    return response


# -- errors


def error_response(error: Exception) -> Response:
    """What a client is told about an exception; never a stack trace or another program's words."""
    known = _as_api_error(error)
    if known is not None:
        return _api_error(known)
    if isinstance(error, HTTPException):
        return _framework_error(error)
    logger.error('A request failed unexpectedly', exc_info=error)
    return json_response({'message': 'Internal Server Error'}, 500)


def _as_api_error(error: Exception) -> APIException | None:
    if isinstance(error, APIException):
        return error
    if isinstance(error, ValidationError):
        return InvalidData(error.normalized_messages())  # type: ignore[no-untyped-call]
    if isinstance(error, (DatabaseUnavailable, SchemaBehind)):
        return APIException(503, 'Database unavailable', 'database-unavailable')
    if isinstance(error, RequestEntityTooLarge):
        details = {'max_bytes': request.max_content_length}
        return APIException(413, 'The request is too large', 'request-too-large', details)
    if hasattr(error, 'id_') and hasattr(error, 'status_code'):  # kept for guests: their own class of API errors
        return APIException(
            error.status_code,
            str(getattr(error, 'message', error)),
            str(error.id_),
            getattr(error, 'details', None),
            getattr(error, 'resource', None),
        )
    return None


def _api_error(error: APIException) -> Response:
    log_api_error(error)
    body = {
        'message': error.message,
        'error_id': error.error_id,
        'details': error.details,
        'timestamp': time.time(),
    }
    if error.resource is not None:
        body['resource'] = error.resource
    return json_response(body, error.status_code)


def _framework_error(error: HTTPException) -> Response:
    if error.response is not None:
        return cast(Response, error.get_response())
    if isinstance(error, UnsupportedMediaType):
        error = BadRequest()
    data = getattr(error, 'data', None) or {'message': error.description}
    headers = {name: value for name, value in error.get_headers() if name not in ('Content-Type', 'Content-Length')}
    return json_response(data, error.code or 500, headers)


# -- application


class Application(Flask):
    """Flask, but for guests whose service could be loaded only after the first request."""

    def _check_setup_finished(self, f_name: str) -> None:
        """Routes may be added at any time."""


class Api(flask_restful.Api):  # type: ignore[misc]  # untyped
    """Flask-RESTful's, answering JSON whatever is accepted and errors in our shapes."""

    def make_response(self, data: Any, code: int = 200, headers: Any = None, **_: Any) -> Response:
        return json_response(data, code, headers)

    def handle_error(self, error: Exception) -> Response:
        return error_response(error)

    def _register_view(self, app: Flask, resource: Any, *urls: str, **kwargs: Any) -> None:
        """A resource that is added a second time (its plugin was loaded again) replaces itself."""
        endpoint = kwargs.get('endpoint') or resource.__name__.lower()
        known = app.view_functions.get(endpoint)
        if known is not None and getattr(known, 'view_class', None) is resource:
            del app.view_functions[endpoint]
        super()._register_view(app, resource, *urls, **kwargs)


class ErrorCatchingResource(flask_restful.Resource):  # type: ignore[misc]  # untyped
    """A resource that anybody may call. (Errors are caught for every resource of ``api``.)"""

    method_decorators: ClassVar[list[Callable[..., Any]]] = []


class AuthResource(ErrorCatchingResource):
    """A resource for callers with a token; each method names its access with ``auth.required_acl``."""

    method_decorators: ClassVar[list[Callable[..., Any]]] = [auth_verifier.verify_token]


def new_application() -> tuple[Flask, Api]:
    """A bare application, as ``app`` and ``api`` are before plugins add their resources (tests make their own)."""
    flask = Application('wazo_webhookd', static_folder=None)
    flask.config['MAX_CONTENT_LENGTH'] = MAX_BODY_BYTES
    return flask, Api(flask, prefix=f'/{VERSION}')


app, api = new_application()


def configure(settings: RestApi, application: Flask | None = None) -> None:
    """Apply ``rest_api.cors`` (rest.md 4.1) and switch on the request log."""
    application = app if application is None else application
    log_requests(application)
    if settings.cors.enabled:
        allow_origins(application, **settings.cors.options)
