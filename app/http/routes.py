"""Names of routes for metrics and traces."""

from __future__ import annotations

from starlette.types import Scope

OTHER = "other"  # a path that does not exist: its name is the client's, and there may be any number


def find_route(scope: Scope) -> str:
    """Returns the template of the path that was routed, such as /jobs/{job_id}; `other` if there is none."""
    return getattr(scope.get("route"), "path", OTHER)
