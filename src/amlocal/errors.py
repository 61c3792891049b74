"""What goes wrong, in words meant for the person who typed the command."""


class AmlocalError(Exception):
    """A failure whose message is fit for the user.

    The command line prints ``error: <message>`` and exits 1; nothing else needs to be known to act on it.
    """
