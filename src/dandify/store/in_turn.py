"""Work done by many threads whose results are taken one after another, in order, by whichever of them is there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Generic, TypeVar

Made = TypeVar("Made")


class InTurn(Generic[Made]):
    """Takes what threads make in the order in which it was asked for.

    No thread is kept for it: one more than there are cores would have to wait for a core, and all others for what it
    holds meanwhile. Who has made something takes whatever it is the turn of, unless somebody else does so already.

    Parameters
    ----------
    take
        Called with the first argument of a task and what it made; by one thread at a time, in order.
    """

    def __init__(self, take: Callable[[Any, Made], None]) -> None:
        self._take = take
        self._lock = threading.Lock()
        self._made: dict[int, tuple[Any, Made, Future[None]]] = {}
        self._submitted = 0
        self._next = 0
        self._taking = False

    def submit(self, pool: Executor, make: Callable[..., Made], first: Any, *more: Any) -> Future[None]:
        """Have something made, from one thread only.

        Returns
        -------
        Future
            Done when it has been taken. It fails if it could not be made or taken; then nothing behind it is taken.
        """
        taken: Future[None] = Future()
        number, self._submitted = self._submitted, self._submitted + 1

        def task() -> None:
            try:
                made = make(first, *more)
            except BaseException as error:
                taken.set_exception(error)
                return
            self._put(number, (first, made, taken))

        pool.submit(task)
        return taken

    def _put(self, number: int, one: tuple[Any, Made, Future[None]]) -> None:
        with self._lock:
            self._made[number] = one
            if self._taking:
                return
            self._taking = True
        while True:
            with self._lock:
                if self._next not in self._made:
                    self._taking = False
                    return
                first, made, taken = self._made.pop(self._next)
            try:
                self._take(first, made)
            except BaseException as error:
                taken.set_exception(error)  # and nobody takes any more
                return
            self._next += 1
            taken.set_result(None)
