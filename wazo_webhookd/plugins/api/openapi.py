"""Turns the Swagger 2.0 document into OpenAPI 3.1: the same API in today's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

JSON: Final = 'application/json'
METHODS: Final = ('get', 'put', 'post', 'delete', 'options', 'head', 'patch')
MOVED: Final = {
    '#/definitions/': '#/components/schemas/',
    '#/parameters/': '#/components/parameters/',
    '#/responses/': '#/components/responses/',
}
OF_A_PARAMETER: Final = ('name', 'in', 'description', 'required')

Tree = dict[str, Any]


def openapi(swagger: Mapping[str, Any]) -> Tree:
    """``swagger`` has what our plugins use of version 2.0; body parameters lie in the operations."""
    produces = swagger.get('produces', [JSON])
    consumes = swagger.get('consumes', [JSON])
    parameters = swagger.get('parameters', {})
    return {
        'openapi': '3.1.0',
        'info': dict(swagger['info']),
        'servers': [{'url': swagger.get('basePath', '/')}],
        'tags': swagger.get('tags', []),
        'security': swagger.get('security', []),
        'paths': {
            path: {
                key: _operation(value, consumes, produces) if key in METHODS else _moved(value)
                for key, value in item.items()
            }
            for path, item in swagger['paths'].items()
        },
        'components': {
            'securitySchemes': swagger.get('securityDefinitions', {}),
            'parameters': {name: _parameter(value) for name, value in parameters.items()},
            'responses': {name: _response(value, produces) for name, value in swagger.get('responses', {}).items()},
            'schemas': {name: _schema(value) for name, value in swagger.get('definitions', {}).items()},
        },
    }


def _operation(operation: Mapping[str, Any], consumes: list[str], produces: list[str]) -> Tree:
    result = {
        key: value
        for key, value in operation.items()
        if key not in ('consumes', 'produces', 'parameters', 'responses', 'schemes')
    }
    parameters = operation.get('parameters', [])
    body = next((parameter for parameter in parameters if parameter.get('in') == 'body'), None)
    others = [parameter for parameter in parameters if parameter is not body]
    if others:
        result['parameters'] = [_parameter(parameter) for parameter in others]
    if body is not None:
        kinds = operation.get('consumes', consumes)
        result['requestBody'] = {
            'required': body.get('required', False),
            'content': {kind: {'schema': _schema(body['schema'])} for kind in kinds},
        }
    kinds = operation.get('produces', produces)
    result['responses'] = {str(code): _response(value, kinds) for code, value in operation['responses'].items()}
    return result


def _parameter(parameter: Mapping[str, Any]) -> Tree:
    if '$ref' in parameter:
        return _moved(parameter)  # type: ignore[no-any-return]
    result = {key: parameter[key] for key in OF_A_PARAMETER if key in parameter}
    rest = {key: value for key, value in parameter.items() if key not in (*OF_A_PARAMETER, 'collectionFormat')}
    result['schema'] = _schema(rest)
    if parameter.get('type') == 'array':
        result['explode'] = parameter.get('collectionFormat') == 'multi'
    return result


def _response(response: Mapping[str, Any], kinds: list[str]) -> Tree:
    if '$ref' in response:
        return _moved(response)  # type: ignore[no-any-return]
    result = {key: value for key, value in response.items() if key not in ('schema', 'headers', 'examples')}
    if 'schema' in response:
        result['content'] = {kind: {'schema': _schema(response['schema'])} for kind in kinds}
    return result


def _schema(schema: Any) -> Any:
    """JSON Schema has no ``x-nullable``, null is one of the types; and it takes several types (``x-types``)."""
    if isinstance(schema, list):
        return [_schema(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    result = {key: _schema(value) for key, value in schema.items() if key not in ('x-nullable', 'x-types')}
    if 'x-types' in schema:
        result['type'] = list(schema['x-types'])
    if isinstance(result.get('$ref'), str):
        result['$ref'] = _new_place(result['$ref'])
    if schema.get('x-nullable') is True:
        if '$ref' in result:
            return {'anyOf': [result, {'type': 'null'}]}
        if 'type' in result:
            result['type'] = [result['type'], 'null']
        if 'enum' in result and None not in result['enum']:
            result['enum'] = [*result['enum'], None]
    return result


def _moved(value: Any) -> Any:
    if isinstance(value, list):
        return [_moved(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {key: _new_place(item) if key == '$ref' else _moved(item) for key, item in value.items()}


def _new_place(reference: str) -> str:
    for old, new in MOVED.items():
        if reference.startswith(old):
            return new + reference[len(old) :]
    return reference
