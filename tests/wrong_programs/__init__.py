"""Programs as learners write them, each with one mistake, and what the checker says of it.

One module per chapter; each fills WRONG with (task, a piece of the message, program).
"""

WRONG = []


def wrong(number, message):
    """Keep a program: ``@wrong("3.5", "the scores are not divided")``."""

    def keep(program):
        WRONG.append((number, message, program))
        return program

    return keep
