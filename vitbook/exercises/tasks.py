"""All tasks by number, in the order of the chapters."""

from vitbook.exercises import chapter_3, chapter_5, chapter_6

CHAPTERS = (chapter_3, chapter_5, chapter_6)
TASKS = {task.number: task for chapter in CHAPTERS for task in chapter.TASKS}
