"""Export, runtimes, scores and latencies of a deployable."""
