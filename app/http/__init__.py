"""HTTP code that all endpoints share: problems, headers, body limits, dependencies, idempotency."""
