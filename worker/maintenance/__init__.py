"""Periodic duties: requeue, expire, collect garbage, deliver webhooks."""
