//! Machine model, timing model and co-simulation.

pub mod image;
pub mod machine;
