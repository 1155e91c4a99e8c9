"""Destinations by identity, those that nobody wrote into the file included: Slack channels that namespaces chose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from receiver.attempt import Destination
from receiver.config.model import Config, DestinationConfig
from receiver.destinations import Sender


class Destinations(Mapping[str, Destination]):
    """Destinations by identity: those of the file, and each Slack channel that a namespace chose once it is asked for.

    What an identity stands for is known from the configuration alone: a channel that nobody names any more still hears
    how that ends which it was told of.
    """

    def __init__(
        self, config: Config, made: dict[str, Destination], make: Callable[[DestinationConfig], Destination]
    ) -> None:
        """`make` is called for chosen channels only."""
        self._config = config
        self._made = made
        self._make = make

    def __getitem__(self, identity: str) -> Destination:
        found = self._made.get(identity)
        if found is None:
            one = self._config.destination(identity)
            if one is None:
                raise KeyError(identity)
            found = self._made[identity] = self._make(one)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._made))

    def __len__(self) -> int:
        return len(self._made)


class Senders(Mapping[str, Sender]):
    """What sends to each destination, by identity."""

    def __init__(self, of: Mapping[str, Destination]) -> None:
        self._of = of

    def __getitem__(self, identity: str) -> Sender:
        return self._of[identity].sender

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)
