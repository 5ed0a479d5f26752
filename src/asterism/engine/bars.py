"""A progress bar on stderr; silent where nobody looks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

Progress = Callable[[float, str], None]  # share of the work that is done, and a few words


@contextmanager
def bar(title: str) -> Iterator[Progress]:
    """Yields the function that moves the bar. Without a terminal nothing is printed."""
    form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining} {postfix}"
    with tqdm(total=1.0, desc=title, bar_format=form, disable=None) as shown:

        def move(done: float, words: str = "") -> None:
            shown.set_postfix_str(words, refresh=False)
            shown.update(min(done, 1.0) - shown.n)

        yield move
