// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `brickwork explore`: which configuration suits a device and some networks.

pub mod chart;
pub mod front;
pub mod jobs;
pub mod journal;
pub mod narrow;
pub mod network;
pub mod objective;
pub mod plans;
pub mod point;
pub mod random;
pub mod search;
pub mod space;
pub mod summary;
pub mod target;
pub mod widths;
pub mod winner;
