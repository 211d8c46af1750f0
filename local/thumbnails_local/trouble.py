"""Why the service cannot start or go on, in one line for the person at the terminal."""


class StartError(Exception):
    """The service does not start; the text says what is wrong, and what to do."""


class CrashLoop(Exception):
    """A part of the service dies again and again, so that all of it ends."""
