"""The command line `nnfs-gpu`. Importing this loads nothing: app.py has the commands."""
