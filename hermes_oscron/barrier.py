"""Use each of many jobs so that an error of one does not reach the others."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from .errors import OscronError

Item = TypeVar("Item")
Result = TypeVar("Result")

_logged: dict[str, str] = {}
"""The last unexpected error of each name, so that the same error is logged only once."""


def use_each(items: Mapping[str, Item], use: Callable[[Item], Result]) -> tuple[dict[str, Result], dict[str, str]]:
    """Call `use` with each of `items`; return the results and the errors, a sentence each, by the items' names.

    An `OscronError` is a fault of the item. Any other exception is a fault of the code, which is logged too.
    """
    results: dict[str, Result] = {}
    errors: dict[str, str] = {}
    for name, item in items.items():
        try:
            results[name] = use(item)
        except OscronError as error:
            errors[name] = str(error)
        except Exception as error:
            errors[name] = _unexpected(name, error)
    return results, errors


def use_or_none(name: str, item: Item, use: Callable[[Item], Result]) -> Result | None:
    """Call `use` with the `item` called `name`, as `use_each` does; return None if that fails."""
    return use_each({name: item}, use)[0].get(name)


def _unexpected(name: str, error: Exception) -> str:
    """Log `error` of the item `name`, once while it stays the same, and return it as a sentence."""
    import traceback  # the runner need not pay for it

    place = traceback.extract_tb(error.__traceback__)[-1]
    reason = f"{type(error).__name__} in {place.name}: {str(error)[:200]!a}"
    sentence = f"The record cannot be used ({reason})."
    if _logged.get(name) != sentence:
        import logging

        _logged[name] = sentence
        logging.getLogger(__name__).error("%s: %s", name, sentence)
    return sentence
