"""Many items through a few threads: answers in order, few ahead, so that memory stays flat."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def in_order(
    work: Callable[[Item], Answer], items: Iterable[Item], *, threads: int, ahead: int
) -> Iterator[Answer]:
    """Yield work(item) for each of *items*, in their order; at most *ahead* of them are under way
    or wait to be taken.

    Whoever stops taking leaves nothing running behind.
    """
    with ThreadPoolExecutor(threads, "ahead") as pool:
        waiting: deque[Future[Answer]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= max(ahead, threads):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
