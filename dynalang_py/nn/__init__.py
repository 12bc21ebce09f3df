"""Layers, distributions and optimisers: nothing here knows what an agent is.

Shape letters, the same in every file of the project:

    B batch         T time within a window    H imagination horizon
    E embedding     A action width            F feature width (deter + stoch)
    D deter width   S latents, K classes each (stoch is S×K one-hot)
    V vocabulary    N anything flattened      C channels
"""

from dynalang_py.kernels import fused  # lay here before, and is still found here

__all__ = ["fused"]
