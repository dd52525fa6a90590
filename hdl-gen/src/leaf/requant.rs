// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The rounding decision of requantization.

use rust_hdl::prelude::*;

/// Whether a number that was cut to its floor must be incremented, in each mode of [`crate::numfmt::Rounding`] but `Float32`.
///
/// - `rounding`: 0 floor, 1 half up, 2 half even, 3 half away from zero (the second rounding of TFLite).
/// - `guard`: the bit below the floor; `rest`: any bit below that one is set; `odd`: bit 0 of the floor; `negative`.
///
/// Six inputs, one LUT6.
#[derive(LogicBlock, Default)]
pub struct RoundIncrement {
    pub rounding: Signal<In, Bits<2>>,
    pub guard: Signal<In, Bits<1>>,
    pub rest: Signal<In, Bits<1>>,
    pub odd: Signal<In, Bits<1>>,
    pub negative: Signal<In, Bits<1>>,
    pub inc: Signal<Out, Bits<1>>,
    low: Signal<Local, Bits<1>>,
    high: Signal<Local, Bits<1>>,
    half_up: Signal<Local, Bits<1>>,
    half_even: Signal<Local, Bits<1>>,
    half_away: Signal<Local, Bits<1>>,
}

impl Logic for RoundIncrement {
    #[hdl_gen]
    fn update(&mut self) {
        self.low.next = self.rounding.val().get_bits::<1>(0);
        self.high.next = self.rounding.val().get_bits::<1>(1);
        self.half_up.next = self.low.val() & !self.high.val();
        self.half_even.next = self.high.val() & !self.low.val() & (self.rest.val() | self.odd.val());
        self.half_away.next = self.high.val() & self.low.val() & (self.rest.val() | !self.negative.val());
        self.inc.next = self.guard.val() & (self.half_up.val() | self.half_even.val() | self.half_away.val());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numfmt::{round_scaled, ChannelParams, Rounding};

    /// The modes that look at one bit below the floor and whether there is more.
    const ONE_NUMBER: [Rounding; 4] =
        [Rounding::Floor, Rounding::HalfUp, Rounding::HalfEven, Rounding::TfLite];

    #[test]
    fn rounds_as_the_number_formats_say() {
        let mut uut = RoundIncrement::default();
        uut.connect_all();
        // n / 8: v * multiplier = n * 2^31, so that every mode rounds n at bit 3 alone
        let params = ChannelParams { bias: 0, multiplier: 1 << 30, addend: 0, shift: 3 };
        for (rounding, n) in itertools::iproduct!(ONE_NUMBER, -70i64..70) {
            uut.rounding.next = (rounding as u64).into();
            uut.guard.next = ((n >> 2 & 1) as u64).into();
            uut.rest.next = ((n & 3 != 0) as u64).into();
            uut.odd.next = ((n >> 3 & 1) as u64).into();
            uut.negative.next = ((n < 0) as u64).into();
            while {
                uut.update_all();
                uut.has_changed()
            } {}
            let inc: u64 = uut.inc.val().into();
            assert_eq!(
                (n >> 3) + inc as i64,
                round_scaled(2 * n, &params, rounding),
                "{rounding:?} of {n}/8"
            );
        }
    }
}
