"""The one exception that means: the user can mend this."""


class UserError(Exception):
    """A mistake in what the user gave: one line that says what is wrong, where, and what to do.

    The command line prints the message without a traceback and exits with code 2.
    """
