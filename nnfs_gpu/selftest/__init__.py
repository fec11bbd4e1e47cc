"""What an installation can say of itself: is it right (crosscheck), how fast is it, is it ready."""
