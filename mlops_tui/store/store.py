"""The store as the agent holds it: one writer thread, a cursor for each reader."""

from __future__ import annotations

import fcntl
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from mlops_tui.core.errors import MlopsError, StoreLocked
from mlops_tui.core.paths import private_dir
from mlops_tui.store.alarms import Alarms
from mlops_tui.store.engine import CATALOG, StoreGone, disk_failure, open_database
from mlops_tui.store.kept import Kept
from mlops_tui.store.migrate import migrate
from mlops_tui.store.readers import Readers
from mlops_tui.store.search.changes import Changes
from mlops_tui.store.search.hot import Hot, Reading
from mlops_tui.store.session import Session

T = TypeVar("T")
log = logging.getLogger(__name__)
READ_LIMIT_S = 5.0
CHECKPOINT_BYTES = 16_000_000


class Store:
    """Owner of the database file. One process opens it; threads ask it through :meth:`read` and :meth:`write`."""

    def __init__(self, folder: Path, key: str | None, *, memory_mb: int = 1000, threads: int = 1) -> None:
        """Lock the folder, open or create the database, bring its schema up to date, start the writer.

        Raises:
            StoreLocked: another process owns the store.
            StoreTooNew: a newer program wrote it.
            NotAllowed: the key does not fit.
        """
        self.path = private_dir(folder) / "mlops.duckdb"
        private_dir(folder / "tmp")
        # Our own lock on our own file: a POSIX lock on the database would drop when any descriptor of it is closed.
        self._lock = _owner_lock(folder / "owner.lock")
        old_mask = os.umask(0o077)
        try:
            self._connection = open_database(self.path, key, memory_mb=memory_mb, threads=threads)
            self.schema = migrate(
                self._connection, before=lambda: self._copy_to(folder / "before-migration.duckdb", key)
            )
        except BaseException:
            os.close(self._lock)
            raise
        finally:
            os.umask(old_mask)
        self._key = key
        self.settled: Callable[[bool], None] = lambda committed: None
        """Called on the writer thread after each transaction; the house keeps its series by it."""
        self.gone = threading.Event()
        """Set once the database gave up: this process cannot use it any more."""
        self.changes = Changes()
        self.hot = Hot(self._connection, self.changes, memory_mb=memory_mb)
        self.kept = Kept(self.changes, memory_mb)
        self._work: queue.SimpleQueue[tuple[Callable[[Session], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._alarms = Alarms()
        self.readers = Readers()
        self._mine = threading.local()
        self._reader_sessions: list[Session] = []
        self._writer = threading.Thread(target=self._write_loop, name="store-writer", daemon=True)
        self._writer.start()

    @contextmanager
    def read(self, limit_s: float = READ_LIMIT_S) -> Iterator[Session]:
        """Yield this thread's reading session; a query that runs longer than ``limit_s`` is interrupted."""
        try:
            session = self._reader()
            with self.readers.reading(), self._alarms.within(limit_s, session.cursor.interrupt):
                session.kept = self.kept.begin()
                session.hot = Reading(self.hot, session.kept.seen)
                session.execute("BEGIN TRANSACTION READ ONLY")
                try:
                    yield session
                finally:
                    session.execute("ROLLBACK")
        except Exception as error:
            if "INTERRUPT" in type(error).__name__.upper():
                raise MlopsError(
                    "the query took longer than it may", f"the limit is {limit_s:g} s", "narrow the filter"
                ) from error
            if (failure := self._failure(error)) is not None:
                raise failure from error
            raise

    def _reader(self) -> Session:
        session: Session | None = getattr(self._mine, "session", None)
        if session is None:
            session = self._mine.session = Session(self._connection, self.readers)
            self._reader_sessions.append(session)
        return session

    def write(self, work: Callable[[Session], T]) -> T:
        """Run ``work`` in a transaction on the writer thread and return what it returns, once committed.

        An exception rolls the transaction back and is raised here. Must not be called by ``work`` itself.
        """
        return self.submit(work).result()

    def submit(self, work: Callable[[Session], T]) -> Future[T]:
        """Queue ``work`` for the writer thread; see :meth:`write`."""
        if threading.current_thread() is self._writer:
            raise RuntimeError("a transaction cannot begin inside another")
        future: Future[T] = Future()
        self._work.put((work, future))
        return future

    def checkpoint(self, after: Callable[[], None] | None = None) -> Future[None]:
        """Fold the write-ahead log into the file, then call ``after`` on the writer thread."""
        future: Future[None] = Future()

        def fold(_: Session) -> None:
            try:
                self._connection.execute(f"CHECKPOINT {CATALOG}")
            except Exception as error:
                raise self._failure(error) or error from error
            if after:
                after()

        fold.outside_transaction = True  # type: ignore[attr-defined]
        self._work.put((fold, future))
        return future

    def _failure(self, error: BaseException) -> MlopsError | None:
        failure = disk_failure(self.path, error)
        if isinstance(failure, StoreGone):
            self.gone.set()
        return failure

    @property
    def wal_bytes(self) -> int:
        """Bytes in the write-ahead log."""
        try:
            return os.stat(f"{self.path}.wal").st_size
        except FileNotFoundError:
            return 0

    def close(self) -> None:
        """Finish queued writes, fold the log, close the file and free the lock.

        Where the log cannot be folded (a full disk) it stays, and whoever opens the store next takes it up.
        """
        self._work.put(None)
        self._writer.join()
        self.hot.close()
        for session in self._reader_sessions:
            session.close()
        try:
            self._connection.execute(f"CHECKPOINT {CATALOG}")
        except Exception as error:
            log.warning("%s could not be folded: %s", self.path, self._failure(error) or error)
        self._connection.close()
        self._alarms.close()
        os.close(self._lock)

    def _write_loop(self) -> None:
        session = Session(self._connection)
        while (item := self._work.get()) is not None:
            work, future = item
            try:
                future.set_result(self._one(session, work))
            except BaseException as error:
                future.set_exception(error)
        session.close()

    def _one(self, session: Session, work: Callable[[Session], T]) -> T:
        if getattr(work, "outside_transaction", False):
            return work(session)
        session.execute("BEGIN")
        session.touched = {}
        try:
            result = work(session)
            session.execute("COMMIT")
            self.changes.commit(session.touched)
        except BaseException as error:
            _rollback(session)
            self.settled(False)
            if (failure := self._failure(error)) is not None:
                raise failure from error
            raise
        self.settled(True)
        return result

    def _copy_to(self, target: Path, key: str | None) -> None:
        """Copy the whole database through DuckDB; the file itself is never opened by other means."""
        target.unlink(missing_ok=True)
        cipher = f" (ENCRYPTION_KEY '{key}', STORAGE_VERSION 'v1.5.0')" if key else " (STORAGE_VERSION 'v1.5.0')"
        self._connection.execute(f"ATTACH '{target}' AS backup{cipher}")
        try:
            self._connection.execute(f"COPY FROM DATABASE {CATALOG} TO backup")
        finally:
            self._connection.execute("DETACH backup")

    def backup(self, target: Path) -> None:
        """Write a consistent copy, encrypted with the same key, into a folder that the store may reach."""
        self.write(lambda _: None)
        self._copy_to(target, self._key)


def _rollback(session: Session) -> None:
    try:
        session.execute("ROLLBACK")
    except Exception:
        # The failed statement may have ended the transaction already; the first error is the one to report.
        return


def _owner_lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StoreLocked(
            "another process owns this store",
            f"{path} is locked",
            "mlops agent status shows the agent; mlops agent stop ends it",
        ) from error
    return descriptor
