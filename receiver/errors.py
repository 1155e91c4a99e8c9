"""How a try at a destination or a look-up can fail, in the classes that decide what happens next.

DeliveryError
├── Transient      later, after `retry_after_s` or our own back-off; the request was surely not carried out
├── Unknown        the request may have been carried out: look before trying again
├── Refused        this message is refused for good: plain form once, then dead letter
├── DestinationRefused   this destination refuses everything (token, scope, channel): park it
└── Gone           the message or ticket that we wanted to change is no longer there
"""

from __future__ import annotations


class DeliveryError(Exception):
    """A try failed. `reason` is short and free of secrets; `status` is the HTTP status where there was one."""

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class Transient(DeliveryError):
    """Nothing was done; try again, not before `retry_after_s` seconds where the destination said so."""

    def __init__(self, reason: str, *, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(reason, status=status)
        self.retry_after_s = retry_after_s


class Unknown(DeliveryError):
    """Time-out or broken connection after sending, or a 5xx: it may have been done."""


class Refused(DeliveryError):
    """This message will never be taken as it is (blocks, length, field)."""


class DestinationRefused(DeliveryError):
    """Nothing of ours will be taken until somebody repairs token, scope, channel or project."""


class Gone(DeliveryError):
    """What we wanted to change was deleted by a person."""
