"""Queries on leases."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import delete, exists, select, update
from sqlalchemy.orm import Session

from store.db.tables import Lease, now


class LeaseRepository:
    def __init__(self, session: Session):
        self.session = session

    def take(self, name: str, holder: str, seconds: float) -> None:
        """Raises `DuplicateError`, when the transaction ends, if anybody has the lease."""
        self.session.execute(delete(Lease).where(Lease.name == name, Lease.expires_at < now()))
        self.session.add(Lease(name=name, holder=holder, expires_at=now() + seconds))
        self.session.flush()

    def put(self, name: str, holder: str, seconds: float) -> None:
        """Takes or renews a lease that only this holder can have."""
        self.session.execute(delete(Lease).where(Lease.name == name))
        self.session.add(Lease(name=name, holder=holder, expires_at=now() + seconds))

    def renew(self, name: str, holder: str, seconds: float) -> None:
        mine = Lease.name == name, Lease.holder == holder
        self.session.execute(update(Lease).where(*mine).values(expires_at=now() + seconds))

    def release(self, names: Collection[str], holder: str) -> None:
        self.session.execute(delete(Lease).where(Lease.name.in_(names), Lease.holder == holder))

    def is_held_by(self, name: str, holder: str) -> bool:
        """Returns whether the holder still has the lease. Nobody can take it before the transaction ends."""
        query = select(Lease.name).where(Lease.name == name, Lease.holder == holder).with_for_update()
        return self.session.scalar(query) is not None

    def expiry(self, name: str) -> float | None:
        """Returns None for a lease that nobody has, or that has expired."""
        return self.session.scalar(select(Lease.expires_at).where(Lease.name == name, Lease.expires_at > now()))

    def is_held(self, prefix: str) -> bool:
        live = Lease.name.startswith(prefix, autoescape=True), Lease.expires_at > now()
        return bool(self.session.scalar(select(exists().where(*live))))

    def list_live(self, prefix: str) -> list[str]:
        """Returns the names of leases that have not expired."""
        live = Lease.name.startswith(prefix, autoescape=True), Lease.expires_at > now()
        return list(self.session.scalars(select(Lease.name).where(*live)))

    def list_and_expire(self, prefix: str) -> list[str]:
        """Returns the names of all leases, then deletes the expired ones."""
        named = Lease.name.startswith(prefix, autoescape=True)
        names = list(self.session.scalars(select(Lease.name).where(named)))
        self.session.execute(delete(Lease).where(named, Lease.expires_at < now()))
        return names
