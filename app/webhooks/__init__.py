"""Webhooks: notifications of jobs that have ended."""
