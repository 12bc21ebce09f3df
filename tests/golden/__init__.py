"""Our numbers beside those of the original Dynalang, computed on fixed weights, inputs and samples."""
