"""Many trials: the only package that knows Ray and Optuna."""
