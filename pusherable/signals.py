"""Signals for metrics and logs. A receiver that raises is logged by Django and disturbs nobody.

``event_recorded``: arguments `event` and `using`; sender AccessEvent. Sent in the transaction of the access,
like ``post_save``: what shall happen only if it commits goes through ``transaction.on_commit``. A receiver's
database error goes no further, but spoils the transaction on PostgreSQL.

``events_delivered``: arguments `events` (a list) and `using`; sender Relay. Sent by the process that relays,
after the queue has forgotten them. An event can be delivered, and so be in here, more than once.

``delivery_failed``: arguments `event`, `error` (text) and `using`; sender Relay. The event will not be tried
again.
"""

from django.dispatch import Signal

event_recorded = Signal()
events_delivered = Signal()
delivery_failed = Signal()
