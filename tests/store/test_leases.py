"""A lease has one holder, until he gives it up or is not heard of any more."""

from __future__ import annotations

import pytest

from store.errors import LeaseHeld
from store.leases import UPLOAD, Leases
from store.store import Store
from tests.support.wait_until import wait_until

NAME = UPLOAD + "one"


def test_a_lease_has_one_holder(store: Store) -> None:
    ours, theirs = Leases(store.database, 20), Leases(store.database, 20)
    with ours.hold(NAME):
        with pytest.raises(LeaseHeld), theirs.hold(NAME):
            pass
        with pytest.raises(LeaseHeld), ours.hold(NAME):  # another thread of the same process
            pass
        with theirs.hold(UPLOAD + "another"):
            assert theirs.is_held(UPLOAD)
    with theirs.hold(NAME):
        assert ours.expiry(NAME) is not None
    assert ours.expiry(NAME) is None
    ours.close()
    theirs.close()


def test_a_lease_is_renewed_while_its_holder_lives(store: Store) -> None:
    ours, theirs = Leases(store.database, 1), Leases(store.database, 20)
    with ours.hold(NAME):
        first = theirs.expiry(NAME)
        assert wait_until(lambda: theirs.expiry(NAME) not in (first, None))
        ours._closed.set()  # as if it was killed or frozen
        assert wait_until(lambda: theirs.expiry(NAME) is None)
        with theirs.hold(NAME), store.database.write() as session:
            theirs.require(session, NAME)
            with pytest.raises(LeaseHeld):
                ours.require(session, NAME)
    theirs.close()


def test_processes_that_expired_are_listed_once_more(store: Store) -> None:
    """One that only could not reach the database has time to renew its lease."""
    ours, theirs = Leases(store.database, 0.4), Leases(store.database, 20)
    ours.announce()
    assert theirs.count_other_processes() == 1
    ours._closed.set()
    assert wait_until(lambda: theirs.count_other_processes() == 0)
    assert ours.holder in theirs.list_processes()
    assert ours.holder not in theirs.list_processes()
    theirs.close()
