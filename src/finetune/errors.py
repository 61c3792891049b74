"""The one exception a stage shows to its user."""


class InputError(Exception):
    """Something the user gave cannot be used.

    The message says where (file, line, row or column), what was found and what was expected. A stage prints it
    without a traceback and exits with status 1; every other exception is a defect and keeps its traceback.
    """
