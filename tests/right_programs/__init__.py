"""Right programs in another form than the solutions: no checker may refuse them.

One module per chapter; each fills RIGHT with (task, program).
"""

RIGHT = []


def right(number):
    """Keep a program: ``@right("3.5")``."""

    def keep(program):
        RIGHT.append((number, program))
        return program

    return keep
