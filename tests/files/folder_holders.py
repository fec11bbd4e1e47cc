"""Other processes that want a folder, for the tests of its lock."""

import multiprocessing

from nnfs_gpu.files import folder_lock


def tries(folder, answers):
    try:
        folder_lock.lock(folder)
    except folder_lock.FolderLockedError:
        answers.put("refused")
    else:
        answers.put("taken")


def other_process(folder):
    """What a forked child is told, which has inherited all that this process knows."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=tries, args=(folder, answers))
    child.start()
    child.join()
    return answers.get()
