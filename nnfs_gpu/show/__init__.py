"""What people look at: summaries, curves, decision regions, progress.

Matplotlib, Pillow and rich are imported when something is drawn, never before.
"""
