"""Authentication, rate limits, ownership and CSRF protection."""
