// SPDX-License-Identifier: Apache-2.0 OR MIT
//! AND and population count of 18 lanes: the reduction at the heart of a column of 1-bit bricks.

use rust_hdl::prelude::*;

/// Lanes that one [`LaneCount`] takes.
pub const LANES: u32 = 18;

/// Three 1-bit bricks and the sum of their products: six inputs, so each output bit is one LUT6.
#[derive(LogicBlock, Default)]
pub struct LaneTriple {
    pub a: Signal<In, Bits<3>>,
    pub w: Signal<In, Bits<3>>,
    pub one: Signal<Out, Bits<1>>,
    pub two: Signal<Out, Bits<1>>,
    p0: Signal<Local, Bits<1>>,
    p1: Signal<Local, Bits<1>>,
    p2: Signal<Local, Bits<1>>,
}

impl Logic for LaneTriple {
    #[hdl_gen]
    fn update(&mut self) {
        self.p0.next = self.a.val().get_bits::<1>(0) & self.w.val().get_bits::<1>(0);
        self.p1.next = self.a.val().get_bits::<1>(1) & self.w.val().get_bits::<1>(1);
        self.p2.next = self.a.val().get_bits::<1>(2) & self.w.val().get_bits::<1>(2);
        self.one.next = self.p0.val() ^ self.p1.val() ^ self.p2.val();
        self.two.next = (self.p0.val() & self.p1.val()) | (self.p2.val() & (self.p0.val() | self.p1.val()));
    }
}

/// Counts six bits: three LUT6.
#[derive(LogicBlock, Default)]
pub struct CountSix {
    pub x0: Signal<In, Bits<1>>,
    pub x1: Signal<In, Bits<1>>,
    pub x2: Signal<In, Bits<1>>,
    pub x3: Signal<In, Bits<1>>,
    pub x4: Signal<In, Bits<1>>,
    pub x5: Signal<In, Bits<1>>,
    pub n: Signal<Out, Bits<3>>,
    s0: Signal<Local, Bits<1>>,
    c0: Signal<Local, Bits<1>>,
    s1: Signal<Local, Bits<1>>,
    c1: Signal<Local, Bits<1>>,
    c2: Signal<Local, Bits<1>>,
    n0: Signal<Local, Bits<1>>,
    n1: Signal<Local, Bits<1>>,
    n2: Signal<Local, Bits<1>>,
}

impl Logic for CountSix {
    #[hdl_gen]
    fn update(&mut self) {
        self.s0.next = self.x0.val() ^ self.x1.val() ^ self.x2.val();
        self.c0.next = (self.x0.val() & self.x1.val()) | (self.x2.val() & (self.x0.val() | self.x1.val()));
        self.s1.next = self.x3.val() ^ self.x4.val() ^ self.x5.val();
        self.c1.next = (self.x3.val() & self.x4.val()) | (self.x5.val() & (self.x3.val() | self.x4.val()));
        self.c2.next = self.s0.val() & self.s1.val();
        self.n0.next = self.s0.val() ^ self.s1.val();
        self.n1.next = self.c0.val() ^ self.c1.val() ^ self.c2.val();
        self.n2.next = (self.c0.val() & self.c1.val()) | (self.c2.val() & (self.c0.val() | self.c1.val()));
        self.n.next = bit_cast::<3, 1>(self.n0.val())
            | (bit_cast::<3, 1>(self.n1.val()) << 1)
            | (bit_cast::<3, 1>(self.n2.val()) << 2);
    }
}

/// `ones + 2 * twos` = number of lanes with `act & wgt`; 0..=18. 18 LUT6: six triples of two, two counters of three.
#[derive(LogicBlock, Default)]
pub struct LaneCount {
    pub act: Signal<In, Bits<18>>,
    pub wgt: Signal<In, Bits<18>>,
    pub ones: Signal<Out, Bits<3>>,
    pub twos: Signal<Out, Bits<3>>,
    triple: [LaneTriple; 6],
    count_ones: CountSix,
    count_twos: CountSix,
}

impl Logic for LaneCount {
    #[hdl_gen]
    fn update(&mut self) {
        self.triple[0].a.next = self.act.val().get_bits::<3>(0);
        self.triple[1].a.next = self.act.val().get_bits::<3>(3);
        self.triple[2].a.next = self.act.val().get_bits::<3>(6);
        self.triple[3].a.next = self.act.val().get_bits::<3>(9);
        self.triple[4].a.next = self.act.val().get_bits::<3>(12);
        self.triple[5].a.next = self.act.val().get_bits::<3>(15);
        self.triple[0].w.next = self.wgt.val().get_bits::<3>(0);
        self.triple[1].w.next = self.wgt.val().get_bits::<3>(3);
        self.triple[2].w.next = self.wgt.val().get_bits::<3>(6);
        self.triple[3].w.next = self.wgt.val().get_bits::<3>(9);
        self.triple[4].w.next = self.wgt.val().get_bits::<3>(12);
        self.triple[5].w.next = self.wgt.val().get_bits::<3>(15);
        self.count_ones.x0.next = self.triple[0].one.val();
        self.count_ones.x1.next = self.triple[1].one.val();
        self.count_ones.x2.next = self.triple[2].one.val();
        self.count_ones.x3.next = self.triple[3].one.val();
        self.count_ones.x4.next = self.triple[4].one.val();
        self.count_ones.x5.next = self.triple[5].one.val();
        self.count_twos.x0.next = self.triple[0].two.val();
        self.count_twos.x1.next = self.triple[1].two.val();
        self.count_twos.x2.next = self.triple[2].two.val();
        self.count_twos.x3.next = self.triple[3].two.val();
        self.count_twos.x4.next = self.triple[4].two.val();
        self.count_twos.x5.next = self.triple[5].two.val();
        self.ones.next = self.count_ones.n.val();
        self.twos.next = self.count_twos.n.val();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(uut: &mut LaneCount, act: u64, wgt: u64) -> u64 {
        uut.act.next = act.into();
        uut.wgt.next = wgt.into();
        while {
            uut.update_all();
            uut.has_changed()
        } {}
        let (ones, twos): (u64, u64) = (uut.ones.val().into(), uut.twos.val().into());
        ones + 2 * twos
    }

    #[test]
    fn counts_every_pattern_of_products() {
        let mut uut = LaneCount::default();
        uut.connect_all();
        let all = (1u64 << LANES) - 1;
        for p in (0..1u64 << LANES).step_by(3).chain([all]) {
            assert_eq!(count(&mut uut, all, p), p.count_ones() as u64, "weights {p:018b}");
            assert_eq!(count(&mut uut, p | !p & 0x2a5a5 & all, p), p.count_ones() as u64, "weights {p:018b}");
        }
    }
}
