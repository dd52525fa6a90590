//! Importers, integer graph, lowering and program files.

pub mod ir;
