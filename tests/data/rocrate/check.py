"""What an independent validator, rocrate-validator, finds wrong with an RO-Crate: what 1.1 demands (MUST)."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from unittest import mock

from requests import Response
from rocrate_validator import models, services

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
GET = "rocrate_validator.utils.http.HttpRequester.get"


def faults(folder: Path) -> list[str]:
    """Return what is wrong with the crate in a folder, one sentence for each fault.

    The context is taken from the library rocrate, since the specification's is on the internet.
    """
    context = (files("rocrate") / "data" / "ro-crate.jsonld").read_bytes()

    def served(_: object, url: str, **__: object) -> Response:
        response = Response()
        response.status_code, response._content = (200, context) if url == CONTEXT else (404, b"")
        response.headers["Content-Type"] = "application/ld+json"
        return response

    asked = services.ValidationSettings(
        rocrate_uri=str(folder),
        profile_identifier="ro-crate-1.1",
        requirement_severity=models.Severity.REQUIRED,
    )
    with mock.patch(GET, served, create=True):
        found = services.validate(asked)
    return [str(issue.message) for issue in found.get_issues()]
