"""Running the command in the process of the test."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command


def replay(*arguments, stdout=None, **options):
    """Run the command; returns what it wrote."""
    out = stdout or StringIO()
    call_command("pusherable_replay", *arguments, stdout=out, no_color=True, **options)
    return out.getvalue()


def fails(*arguments, **options):
    """Run the command, which has to end with an error; returns the exit code and the message."""
    with pytest.raises(CommandError) as error:
        replay(*arguments, **options)
    return error.value.returncode, str(error.value)
