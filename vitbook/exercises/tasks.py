"""All tasks by number, in the order of the chapters."""

from vitbook.exercises import chapter_1, chapter_2, chapter_3, chapter_4, chapter_5, chapter_6

CHAPTERS = (chapter_1, chapter_2, chapter_3, chapter_4, chapter_5, chapter_6)
TASKS = {task.number: task for chapter in CHAPTERS for task in chapter.TASKS}
