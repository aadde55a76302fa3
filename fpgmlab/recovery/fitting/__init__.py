"""The loop of `fit`: options, epochs, checkpoints, several processes. One file for each concern."""
