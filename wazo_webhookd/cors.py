"""Flask-CORS, with its answer to requests that no browser sends across origins worked out once: nearly all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from flask import Flask, Response, request
from flask_cors import CORS
from flask_cors.core import ACL_ORIGIN, FLASK_CORS_EVALUATED

_ASKED_BY: Final = ('HTTP_ORIGIN', 'HTTP_ACCESS_CONTROL_REQUEST_PRIVATE_NETWORK')


def allow_origins(application: Flask, **options: Any) -> None:
    """Like ``CORS(application, **options)``."""
    CORS(application, **options)
    if 'resources' in options:  # each path has its own answer
        return
    theirs = cast(Callable[[Response], Response], application.after_request_funcs[None].pop())
    with application.test_request_context():
        answer = Response()
        own = len(answer.headers)
        plain = list(theirs(answer).headers)[own:]

    @application.after_request
    def add_headers(response: Response) -> Response:
        environ = request.environ
        special = environ['REQUEST_METHOD'] == 'OPTIONS' or any(name in environ for name in _ASKED_BY)
        if special or hasattr(response, FLASK_CORS_EVALUATED) or ACL_ORIGIN in response.headers:
            return theirs(response)
        response.headers.extend(plain)
        return response
