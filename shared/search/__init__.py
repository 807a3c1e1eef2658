"""From a request to results, with the caller's rights."""
