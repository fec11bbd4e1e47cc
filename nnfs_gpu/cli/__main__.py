"""`python -m nnfs_gpu.cli` is `nnfs-gpu`."""

from .app import main

main()
