// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The few vector operations of the golden model, for the instruction sets that a processor may have.
//!
//! A loop is written once, as a [`Body`] that is generic over [`Isa`], and compiled for every instruction set; the one that
//! runs is chosen when the program runs. All of them compute modulo 2^32 and give the same bits. The only unsafe code of
//! the golden model is here: calls of instructions, which are sound because a value of the instruction set's type exists
//! only where the processor was asked for it.

/// Output channels that a vector holds.
pub const LANES: usize = 16;
/// Weights of one vector: for each lane 32 bits, two int16 or four int8 values.
pub type Word = [u8; 4 * LANES];

/// Vector operations on 16 lanes of 32 bits, modulo 2^32.
pub trait Isa: Copy + Send + Sync {
    type Acc: Copy;
    /// There are registers for 24 accumulators, otherwise for 6.
    const WIDE: bool;
    /// Four unsigned bytes times four signed ones per lane (`dot`), otherwise two int16 times two int16.
    const BYTES: bool;
    fn zero(self) -> Self::Acc;
    /// `acc + x . w` in every lane; `x` is the same for all lanes.
    fn dot(self, acc: Self::Acc, x: [u8; 4], w: &Word) -> Self::Acc;
    /// `acc + x * w`; w in -32768..=32767.
    fn mac_bytes(self, acc: Self::Acc, x: &[u8; LANES], w: &[i32; LANES]) -> Self::Acc;
    /// `acc + x * w`; x are int16, little-endian.
    fn mac_words(self, acc: Self::Acc, x: &[u8; 2 * LANES], w: &[i32; LANES]) -> Self::Acc;
    fn lanes(self, acc: Self::Acc) -> [i32; LANES];
}

/// A loop to be compiled for every instruction set. `run` must be `#[inline(always)]`.
pub trait Body {
    fn run<I: Isa>(self, isa: I);
}

/// An instruction set that this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instructions {
    Portable(Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(x86::Avx512),
    #[cfg(target_arch = "x86_64")]
    Vnni(x86::Vnni),
}

impl Instructions {
    /// All that this processor has, the fastest last.
    pub fn available() -> Vec<Instructions> {
        let mut all = vec![Instructions::Portable(Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(x86::Avx2::detect().map(Instructions::Avx2));
            all.extend(x86::Avx512::detect().map(Instructions::Avx512));
            all.extend(x86::Vnni::detect().map(Instructions::Vnni));
        }
        all
    }

    pub fn best() -> Instructions {
        Self::available().pop().unwrap_or(Instructions::Portable(Portable))
    }

    pub fn name(self) -> &'static str {
        match self {
            Instructions::Portable(_) => "portable",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2(_) => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512(_) => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Instructions::Vnni(_) => "AVX-512 VNNI",
        }
    }

    /// [`Isa::BYTES`]
    pub fn bytes(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        if let Instructions::Vnni(_) = self {
            return true;
        }
        false
    }

    /// [`Isa::WIDE`]
    pub fn wide(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        if let Instructions::Avx512(_) | Instructions::Vnni(_) = self {
            return true;
        }
        false
    }

    /// The same without [`Isa::BYTES`].
    pub fn of_words(self) -> Instructions {
        match self {
            #[cfg(target_arch = "x86_64")]
            Instructions::Vnni(isa) => Instructions::Avx512(isa.base()),
            other => other,
        }
    }

    pub fn run(self, body: impl Body) {
        match self {
            Instructions::Portable(isa) => body.run(isa),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2(isa) => isa.run(body),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512(isa) => isa.run(body),
            #[cfg(target_arch = "x86_64")]
            Instructions::Vnni(isa) => isa.run(body),
        }
    }
}

/// Plain Rust, which the compiler vectorizes with what every processor of the target has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portable;

fn word(bytes: &[u8], at: usize) -> i32 {
    i16::from_le_bytes([bytes[2 * at], bytes[2 * at + 1]]) as i32
}

impl Isa for Portable {
    type Acc = [i32; LANES];
    const WIDE: bool = false;
    const BYTES: bool = false;

    #[inline(always)]
    fn zero(self) -> Self::Acc {
        [0; LANES]
    }

    #[inline(always)]
    fn dot(self, mut acc: Self::Acc, x: [u8; 4], w: &Word) -> Self::Acc {
        let (x0, x1) = (word(&x, 0), word(&x, 1));
        for (lane, a) in acc.iter_mut().enumerate() {
            // One product may be 2^30, both together wrap as the vector instructions do.
            let pair = (x0 * word(w, 2 * lane)).wrapping_add(x1 * word(w, 2 * lane + 1));
            *a = a.wrapping_add(pair);
        }
        acc
    }

    #[inline(always)]
    fn mac_bytes(self, mut acc: Self::Acc, x: &[u8; LANES], w: &[i32; LANES]) -> Self::Acc {
        for ((a, &x), &w) in acc.iter_mut().zip(x).zip(w) {
            *a = a.wrapping_add(x as i32 * w);
        }
        acc
    }

    #[inline(always)]
    fn mac_words(self, mut acc: Self::Acc, x: &[u8; 2 * LANES], w: &[i32; LANES]) -> Self::Acc {
        for (lane, (a, &w)) in acc.iter_mut().zip(w).enumerate() {
            *a = a.wrapping_add(word(x, lane) * w);
        }
        acc
    }

    #[inline(always)]
    fn lanes(self, acc: Self::Acc) -> [i32; LANES] {
        acc
    }
}

#[cfg(target_arch = "x86_64")]
pub mod x86 {
    use super::{Body, Isa, Word, LANES};
    use std::arch::x86_64::*;

    /// 256-bit vectors.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Avx2(());

    /// 512-bit vectors: the sets F, BW, DQ and VL.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Avx512(());

    /// `Avx512` and products of bytes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Vnni(Avx512);

    impl Avx2 {
        pub fn detect() -> Option<Avx2> {
            is_x86_feature_detected!("avx2").then_some(Avx2(()))
        }

        pub fn run(self, body: impl Body) {
            #[target_feature(enable = "avx2")]
            fn inner(isa: Avx2, body: impl Body) {
                body.run(isa)
            }
            // SAFETY: `self` proves that the processor has AVX2.
            unsafe { inner(self, body) }
        }
    }

    impl Avx512 {
        pub fn detect() -> Option<Avx512> {
            let base = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
            let all = base && is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512vl");
            all.then_some(Avx512(()))
        }

        pub fn run(self, body: impl Body) {
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
            fn inner(isa: Avx512, body: impl Body) {
                body.run(isa)
            }
            // SAFETY: `self` proves that the processor has these sets.
            unsafe { inner(self, body) }
        }
    }

    impl Vnni {
        pub fn detect() -> Option<Vnni> {
            Avx512::detect().filter(|_| is_x86_feature_detected!("avx512vnni")).map(Vnni)
        }

        pub fn base(self) -> Avx512 {
            self.0
        }

        pub fn run(self, body: impl Body) {
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
            fn inner(isa: Vnni, body: impl Body) {
                body.run(isa)
            }
            // SAFETY: `self` proves that the processor has these sets.
            unsafe { inner(self, body) }
        }
    }

    // SAFETY of all blocks below: the instruction set's value proves that the processor has it; a pointer is that of a
    // reference to an array of the vector's size, and the loads and stores take any alignment.

    impl Isa for Avx2 {
        type Acc = [__m256i; 2];
        const WIDE: bool = false;
        const BYTES: bool = false;

        #[inline(always)]
        fn zero(self) -> Self::Acc {
            unsafe { [_mm256_setzero_si256(); 2] }
        }

        #[inline(always)]
        fn dot(self, acc: Self::Acc, x: [u8; 4], w: &Word) -> Self::Acc {
            let (low, high) = w.split_at(2 * LANES);
            unsafe {
                let x = _mm256_set1_epi32(i32::from_le_bytes(x));
                let low = _mm256_madd_epi16(x, _mm256_loadu_si256(low.as_ptr().cast()));
                let high = _mm256_madd_epi16(x, _mm256_loadu_si256(high.as_ptr().cast()));
                [_mm256_add_epi32(acc[0], low), _mm256_add_epi32(acc[1], high)]
            }
        }

        #[inline(always)]
        fn mac_bytes(self, acc: Self::Acc, x: &[u8; LANES], w: &[i32; LANES]) -> Self::Acc {
            let (low, high) = w.split_at(LANES / 2);
            unsafe {
                let x = _mm_loadu_si128(x.as_ptr().cast());
                let parts = [_mm256_cvtepu8_epi32(x), _mm256_cvtepu8_epi32(_mm_srli_si128::<8>(x))];
                // The upper int16 of each x is 0, so that the pair's product is that of the lower ones.
                let low = _mm256_madd_epi16(parts[0], _mm256_loadu_si256(low.as_ptr().cast()));
                let high = _mm256_madd_epi16(parts[1], _mm256_loadu_si256(high.as_ptr().cast()));
                [_mm256_add_epi32(acc[0], low), _mm256_add_epi32(acc[1], high)]
            }
        }

        #[inline(always)]
        fn mac_words(self, acc: Self::Acc, x: &[u8; 2 * LANES], w: &[i32; LANES]) -> Self::Acc {
            let ((x0, x1), (low, high)) = (x.split_at(LANES), w.split_at(LANES / 2));
            unsafe {
                let x0 = _mm256_cvtepi16_epi32(_mm_loadu_si128(x0.as_ptr().cast()));
                let x1 = _mm256_cvtepi16_epi32(_mm_loadu_si128(x1.as_ptr().cast()));
                let low = _mm256_mullo_epi32(x0, _mm256_loadu_si256(low.as_ptr().cast()));
                let high = _mm256_mullo_epi32(x1, _mm256_loadu_si256(high.as_ptr().cast()));
                [_mm256_add_epi32(acc[0], low), _mm256_add_epi32(acc[1], high)]
            }
        }

        #[inline(always)]
        fn lanes(self, acc: Self::Acc) -> [i32; LANES] {
            let mut out = [0; LANES];
            let (low, high) = out.split_at_mut(LANES / 2);
            unsafe {
                _mm256_storeu_si256(low.as_mut_ptr().cast(), acc[0]);
                _mm256_storeu_si256(high.as_mut_ptr().cast(), acc[1]);
            }
            out
        }
    }

    impl Isa for Avx512 {
        type Acc = __m512i;
        const WIDE: bool = true;
        const BYTES: bool = false;

        #[inline(always)]
        fn zero(self) -> __m512i {
            unsafe { _mm512_setzero_si512() }
        }

        #[inline(always)]
        fn dot(self, acc: __m512i, x: [u8; 4], w: &Word) -> __m512i {
            unsafe {
                let x = _mm512_set1_epi32(i32::from_le_bytes(x));
                let product = _mm512_madd_epi16(x, _mm512_loadu_si512(w.as_ptr().cast()));
                _mm512_add_epi32(acc, product)
            }
        }

        #[inline(always)]
        fn mac_bytes(self, acc: __m512i, x: &[u8; LANES], w: &[i32; LANES]) -> __m512i {
            unsafe {
                let x = _mm512_cvtepu8_epi32(_mm_loadu_si128(x.as_ptr().cast()));
                // The upper int16 of each x is 0, so that the pair's product is that of the lower ones.
                let product = _mm512_madd_epi16(x, _mm512_loadu_si512(w.as_ptr().cast()));
                _mm512_add_epi32(acc, product)
            }
        }

        #[inline(always)]
        fn mac_words(self, acc: __m512i, x: &[u8; 2 * LANES], w: &[i32; LANES]) -> __m512i {
            unsafe {
                let x = _mm512_cvtepi16_epi32(_mm256_loadu_si256(x.as_ptr().cast()));
                let product = _mm512_mullo_epi32(x, _mm512_loadu_si512(w.as_ptr().cast()));
                _mm512_add_epi32(acc, product)
            }
        }

        #[inline(always)]
        fn lanes(self, acc: __m512i) -> [i32; LANES] {
            let mut out = [0; LANES];
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), acc) }
            out
        }
    }

    impl Isa for Vnni {
        type Acc = __m512i;
        const WIDE: bool = true;
        const BYTES: bool = true;

        #[inline(always)]
        fn zero(self) -> __m512i {
            self.0.zero()
        }

        #[inline(always)]
        fn dot(self, acc: __m512i, x: [u8; 4], w: &Word) -> __m512i {
            unsafe {
                let x = _mm512_set1_epi32(i32::from_le_bytes(x));
                _mm512_dpbusd_epi32(acc, x, _mm512_loadu_si512(w.as_ptr().cast()))
            }
        }

        #[inline(always)]
        fn mac_bytes(self, acc: __m512i, x: &[u8; LANES], w: &[i32; LANES]) -> __m512i {
            self.0.mac_bytes(acc, x, w)
        }

        #[inline(always)]
        fn mac_words(self, acc: __m512i, x: &[u8; 2 * LANES], w: &[i32; LANES]) -> __m512i {
            self.0.mac_words(acc, x, w)
        }

        #[inline(always)]
        fn lanes(self, acc: __m512i) -> [i32; LANES] {
            self.0.lanes(acc)
        }
    }
}
