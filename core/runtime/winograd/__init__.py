"""The fast engine of x86 processors: our own kernels, written for CNN14's twelve convolutions and compiled where they run."""
