"""Operations and effects: how authors declare them, and how a run's code uses them."""
