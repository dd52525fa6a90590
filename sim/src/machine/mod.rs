// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The machine model: executes a program on modelled buffers and counts cycles as the RTL does.

pub mod buffers;
pub mod compute;
pub mod post;
pub mod unit;
