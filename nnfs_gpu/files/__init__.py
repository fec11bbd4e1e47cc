"""Files: models, the book's pickles, and locks on the folders they lie in."""
