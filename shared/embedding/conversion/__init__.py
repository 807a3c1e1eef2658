"""From a checkpoint to what the CPU engine serves. Imports torch: never on the serving path."""
