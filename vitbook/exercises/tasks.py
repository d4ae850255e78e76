"""All tasks by number, in the order of the chapters."""

from vitbook.exercises import chapter_1, chapter_2, chapter_3, chapter_4, chapter_5, chapter_6

CHAPTERS = (chapter_1, chapter_2, chapter_3, chapter_4, chapter_5, chapter_6)
TASKS = {task.number: task for chapter in CHAPTERS for task in chapter.TASKS}


def of_chapter(chapter):
    """The tasks of a chapter, given by its number or by the path of its notebook."""
    number = str(int(getattr(chapter, "stem", str(chapter))[:2]))
    return [task for task in TASKS.values() if task.number.split(".")[0] == number]
