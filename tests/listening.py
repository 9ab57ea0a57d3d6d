"""A progress that remembers what it was warned of."""

from lowshot.progress import Silent


class Listening(Silent):
    """Says nothing; ``warnings`` holds what it was told, in order."""

    def __init__(self):
        self.warnings = []

    def warn(self, message):
        self.warnings.append(message)
