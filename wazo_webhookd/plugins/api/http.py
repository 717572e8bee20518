"""``/api/api.yml``, ``/api/openapi.json`` and the page for people, for everybody."""

from __future__ import annotations

from functools import lru_cache
from html import escape
from importlib import resources
from typing import Any, Final

import yaml
from flask import Response, request

from ...rest_api import VERSION, ErrorCatchingResource
from .document import clean_script_name, served_document
from .openapi import openapi

MISSING: Final = ({'error': 'API spec does not exist'}, 404)
ASSETS: Final = {
    'swagger-ui-bundle.js': 'text/javascript',
    'swagger-ui.css': 'text/css',
    'favicon-32x32.png': 'image/png',
}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'self'; form-action 'none'"
)
A_DAY: Final = 'public, max-age=86400'


@lru_cache(maxsize=8)
def _swagger_text(script_name: str) -> str:
    document = served_document(script_name)
    return yaml.safe_dump(document, sort_keys=False) if document is not None else ''


class SwaggerResource(ErrorCatchingResource):
    def get(self) -> Any:
        text = _swagger_text(clean_script_name(request.headers.get('X-Script-Name')))
        return Response(text, content_type='application/x-yaml') if text else MISSING


class OpenAPIResource(ErrorCatchingResource):
    def get(self) -> Any:
        document = served_document(request.headers.get('X-Script-Name'))
        return (openapi(document), 200) if document is not None else MISSING


class PageResource(ErrorCatchingResource):
    def get(self) -> Response:
        base = f'{clean_script_name(request.headers.get("X-Script-Name"))}/{VERSION}/api/'
        page = resources.files(__package__).joinpath('page.html').read_text(encoding='utf-8')
        headers = {'Content-Security-Policy': POLICY}
        return Response(page.replace('{base}', escape(base)), headers=headers, content_type='text/html; charset=utf-8')


class StartResource(ErrorCatchingResource):
    """The page's own script."""

    def get(self) -> Response:
        script = resources.files(__package__).joinpath('start.js').read_bytes()
        return Response(script, content_type='text/javascript; charset=utf-8')


class AssetResource(ErrorCatchingResource):
    """Swagger UI, from the package that brings it along: the page needs no internet."""

    def get(self, name: str) -> Response:
        if name not in ASSETS:
            return Response('no such asset\n', 404, content_type='text/plain')
        content = resources.files('flask_swagger_ui').joinpath('dist', name).read_bytes()
        return Response(content, content_type=ASSETS[name], headers={'Cache-Control': A_DAY})
