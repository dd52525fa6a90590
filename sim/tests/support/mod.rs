// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the benches of single units share.

pub mod post_bench;
pub mod random;
