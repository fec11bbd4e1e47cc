"""A network: its parts connected, what must fit what, how losses and accuracies are called."""
