"""From a checkpoint to an artifact for the CPU engine. Imports torch: never on the serving path."""
