"""Degrades millions of images on a cluster, without a service: `degrade_all`. Needs the extra `ray`."""

from patina.bulk.run import BulkStats, degrade_all

__all__ = ["BulkStats", "degrade_all"]
