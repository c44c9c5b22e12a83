"""One recipe in, one record out: data, nets, the training loop, compression, deployment, the stopwatch."""
