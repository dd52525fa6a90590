//! Machine model, timing model and co-simulation.
