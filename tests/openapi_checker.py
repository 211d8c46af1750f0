"""Holds what the service says against its OpenAPI document, for tests at any level."""

import json
import re
from typing import Any

import jsonschema_rs

Document = dict[str, Any]

# HTTP's own, and what protects browsers.
_PLAIN_HEADERS = {
    "connection",
    "content-length",
    "content-security-policy",
    "content-type",
    "cross-origin-resource-policy",
    "date",
    "referrer-policy",
    "server",
    "x-accel-buffering",
    "x-content-type-options",
}


def closed(element: Any) -> Any:
    """The same schemas, without room for members that they do not name; Problem is there to be extended."""
    if isinstance(element, list):
        return [closed(item) for item in element]
    if not isinstance(element, dict):
        return element
    result = {name: value if name == "allOf" else closed(value) for name, value in element.items()}
    is_object = "properties" in result and (result.get("type") == "object" or "allOf" in result)
    is_problem = result.get("description", "").startswith("RFC 9457")
    if (is_object or "allOf" in result) and not is_problem and "additionalProperties" not in result:
        result["unevaluatedProperties"] = False
    return result


class Checker:
    """Holds answers against a document, whose schemas leave no room for more."""

    def __init__(self, document: Document) -> None:
        self.document = {**closed(document), "$schema": "https://json-schema.org/draft/2020-12/schema"}
        self._patterns = {
            template: re.compile(re.sub(r"\\{[^/]*\\}", "[^/]+", re.escape(template)))
            for template in document["paths"]
        }

    def schema(self, instance: Any, schema: Document) -> None:
        """Fail unless the instance is as the schema says."""
        validator = jsonschema_rs.Draft202012Validator(
            {**schema, "components": self.document["components"]}, validate_formats=True
        )
        errors = [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(instance)]
        assert errors == [], instance

    def component(self, instance: Any, name: str) -> None:
        """The same with a schema of the components."""
        self.schema(instance, {"$ref": f"#/components/schemas/{name}"})

    def answer(self, result: Any, method: str, path: str) -> Any:
        """The JSON of an answer that is as it is described."""
        described = self._described(result, method, path)
        media = result.headers["content-type"].partition(";")[0]
        assert media in described["content"]
        instance = json.loads(result.text)
        self.schema(instance, described["content"][media]["schema"])
        return instance

    def any_answer(self, result: Any, method: str, address: str) -> None:
        """Fail unless an answer to a request for this path is as it is described, JSON or not."""
        path = address.partition("?")[0]
        # The longest template has the fewest holes: /jobs/{job_id}/events before /jobs/{job_id}.
        template = max((name for name, each in self._patterns.items() if each.fullmatch(path)), key=len)
        described = self._described(result, method, template)
        media = result.headers.get("content-type", "").partition(";")[0]
        if result.content:
            assert media in described["content"]
            if media.endswith("json"):
                self.answer(result, method, template)

    def _described(self, result: Any, method: str, path: str) -> Any:
        operation = self.document["paths"][path][method.lower()]
        status = str(result.status_code)
        assert status in operation["responses"], (method, path, result.text)
        described = operation["responses"][status]
        headers = {name.lower() for name in described.get("headers", {})}
        assert {name.lower() for name in result.headers} <= headers | _PLAIN_HEADERS
        return described
