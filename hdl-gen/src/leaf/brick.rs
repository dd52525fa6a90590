// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The 2x2-bit brick of Bit Fusion.

use rust_hdl::prelude::*;

/// Product of two 2-bit slices, each unsigned or two's complement by a flag of its own.
///
/// - `x`, `w`: slices; `x_signed`, `w_signed`: the slice is the top one of a signed number (-2..=1), else 0..=3.
/// - `p`: `x * w`, two's complement of 5 bits (-6..=9).
///
/// Each bit of `p` is a function of the six inputs, one LUT6. With `m1 = x1 w0`, `m2 = x0 w1`, `m3 = x1 w1` the product
/// is `x0 w0 + 2 (±m1 ±m2) ±4 m3`; a negative term -2m is m in every bit from bit 1 on.
#[derive(LogicBlock, Default)]
pub struct BitBrick {
    pub x: Signal<In, Bits<2>>,
    pub x_signed: Signal<In, Bits<1>>,
    pub w: Signal<In, Bits<2>>,
    pub w_signed: Signal<In, Bits<1>>,
    pub p: Signal<Out, Bits<5>>,
    x0: Signal<Local, Bits<1>>,
    x1: Signal<Local, Bits<1>>,
    w0: Signal<Local, Bits<1>>,
    w1: Signal<Local, Bits<1>>,
    m1: Signal<Local, Bits<1>>,
    m2: Signal<Local, Bits<1>>,
    m3: Signal<Local, Bits<1>>,
    n1: Signal<Local, Bits<1>>,
    n2: Signal<Local, Bits<1>>,
    n3: Signal<Local, Bits<1>>,
    carry: Signal<Local, Bits<1>>,
    p0: Signal<Local, Bits<1>>,
    p1: Signal<Local, Bits<1>>,
    p2: Signal<Local, Bits<1>>,
    p3: Signal<Local, Bits<1>>,
    p4: Signal<Local, Bits<1>>,
}

impl Logic for BitBrick {
    #[hdl_gen]
    fn update(&mut self) {
        self.x0.next = self.x.val().get_bits::<1>(0);
        self.x1.next = self.x.val().get_bits::<1>(1);
        self.w0.next = self.w.val().get_bits::<1>(0);
        self.w1.next = self.w.val().get_bits::<1>(1);
        self.m1.next = self.x1.val() & self.w0.val();
        self.m2.next = self.x0.val() & self.w1.val();
        self.m3.next = self.x1.val() & self.w1.val();
        self.n1.next = self.x_signed.val() & self.m1.val();
        self.n2.next = self.w_signed.val() & self.m2.val();
        self.n3.next = (self.x_signed.val() ^ self.w_signed.val()) & self.m3.val();
        self.carry.next = self.m1.val() & self.m2.val();
        self.p0.next = self.x0.val() & self.w0.val();
        self.p1.next = self.m1.val() ^ self.m2.val();
        self.p2.next = self.n1.val() ^ self.n2.val() ^ self.m3.val() ^ self.carry.val();
        self.p3.next = self.n1.val()
            ^ self.n2.val()
            ^ self.n3.val()
            ^ (self.n1.val() & self.n2.val())
            ^ (self.m3.val() & self.carry.val())
            ^ ((self.n1.val() ^ self.n2.val()) & (self.m3.val() ^ self.carry.val()));
        self.p4.next = ((self.x_signed.val() & self.x1.val()) ^ (self.w_signed.val() & self.w1.val()))
            & (self.x0.val() | self.x1.val())
            & (self.w0.val() | self.w1.val());
        self.p.next = bit_cast::<5, 1>(self.p0.val())
            | (bit_cast::<5, 1>(self.p1.val()) << 1)
            | (bit_cast::<5, 1>(self.p2.val()) << 2)
            | (bit_cast::<5, 1>(self.p3.val()) << 3)
            | (bit_cast::<5, 1>(self.p4.val()) << 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(v: u64, signed: u64) -> i64 {
        v as i64 - if signed == 1 && v >= 2 { 4 } else { 0 }
    }

    #[test]
    fn multiplies_every_pair_of_slices() {
        let mut uut = BitBrick::default();
        uut.connect_all();
        for code in 0..64u64 {
            let (x, xs, w, ws) = (code & 3, code >> 2 & 1, code >> 3 & 3, code >> 5);
            uut.x.next = x.into();
            uut.x_signed.next = xs.into();
            uut.w.next = w.into();
            uut.w_signed.next = ws.into();
            while {
                uut.update_all();
                uut.has_changed()
            } {}
            let want = slice(x, xs) * slice(w, ws);
            let p: u64 = uut.p.val().into();
            assert_eq!(p, (want & 31) as u64, "x {x} signed {xs}, w {w} signed {ws}");
        }
    }
}
