"""Periodic duties: requeue, expire, collect garbage, purge, deliver webhooks. Each file has one."""
