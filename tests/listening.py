"""A progress that remembers what it was told."""

from lowshot.progress import Silent


class Listening(Silent):
    """Says nothing; ``notes`` and ``warnings`` hold what it was told, in order."""

    def __init__(self):
        self.notes, self.warnings = [], []

    def note(self, message):
        self.notes.append(message)

    def warn(self, message):
        self.warnings.append(message)
