"""A Pusher-compatible server in one process, for development and tests (install the ``server`` extra)."""
