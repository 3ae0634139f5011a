"""Physics of atomically thin crystals: solvers in physical units that differentiate."""
