//! The SHA-256 rounds of x86-64 processors, four messages in step.
//!
//! This module and no other of the crate has `unsafe`, and that is one call: what an intrinsic needs is known where a
//! [`Unit`] is, and everything is loaded and stored by value.
//!
//! # Source
//! FIPS 180-4, section 6.2.2; Gulley, Gopal, Yap, Feghali, Guilford, "Intel SHA Extensions", 2013.

use std::{
    arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x,
        _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
        _mm_shuffle_epi32,
    },
    array,
};

use super::{Block, Blocks, LANES, State};

/// The constants of the rounds, four to a row.
#[rustfmt::skip]
const ROUNDS: [[u32; 4]; 16] = [
    [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5], [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
    [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3], [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
    [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc], [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
    [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7], [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
    [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13], [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
    [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3], [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
    [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5], [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
    [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208], [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
];

/// The unit that makes the rounds. There is one only where the processor has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit(());

impl Unit {
    /// The standard library caches the answer of the processor.
    pub(super) fn detect() -> Option<Self> {
        let there = is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1");
        there.then_some(Self(()))
    }

    /// Takes the next `count` blocks of each lane into its state.
    pub(super) fn compress(
        self,
        states: &mut [State; LANES],
        lanes: &[impl Blocks; LANES],
        count: usize,
    ) {
        // SAFETY: a `Unit` exists only where the instructions that the function is compiled for were detected.
        unsafe { compress(states, lanes, count) }
    }
}

/// A state in the order in which the instructions want it.
#[derive(Clone, Copy)]
struct Working {
    abef: __m128i,
    cdgh: __m128i,
}

#[target_feature(enable = "sha,sse4.1")]
fn compress(states: &mut [State; LANES], lanes: &[impl Blocks; LANES], count: usize) {
    let mut working = states.map(|state| load(state));
    for block in 0..count {
        let blocks = lanes.each_ref().map(|lane| lane.block(block));
        rounds(&mut working, blocks);
    }
    *states = working.map(|working| store(working));
}

#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn rounds(lanes: &mut [Working; LANES], blocks: [&Block; LANES]) {
    let before = *lanes;
    let mut words = blocks.map(|block| message(block));
    for (four, constants) in ROUNDS.iter().enumerate() {
        let [k0, k1, k2, k3] = constants.map(u32::cast_signed);
        let constants = _mm_set_epi32(k3, k2, k1, k0);
        for (lane, words) in lanes.iter_mut().zip(&mut words) {
            let [now, w1, w2, w3] = *words;
            // The first sixteen words are the block; each later one is made of four before it.
            let now = if four < 4 {
                now
            } else {
                let sum = _mm_add_epi32(_mm_sha256msg1_epu32(now, w1), _mm_alignr_epi8(w3, w2, 4));
                _mm_sha256msg2_epu32(sum, w3)
            };
            *words = [w1, w2, w3, now];
            let sum = _mm_add_epi32(now, constants);
            lane.cdgh = _mm_sha256rnds2_epu32(lane.cdgh, lane.abef, sum);
            lane.abef = _mm_sha256rnds2_epu32(lane.abef, lane.cdgh, _mm_shuffle_epi32(sum, 0x0e));
        }
    }
    for (lane, before) in lanes.iter_mut().zip(before) {
        lane.abef = _mm_add_epi32(lane.abef, before.abef);
        lane.cdgh = _mm_add_epi32(lane.cdgh, before.cdgh);
    }
}

/// The sixteen words of a block, which are big-endian.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn message(block: &Block) -> [__m128i; 4] {
    let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let mut halves = block.as_chunks::<8>().0.iter().map(|half| i64::from_le_bytes(*half));
    array::from_fn(|_| {
        let (low, high) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
        _mm_shuffle_epi8(_mm_set_epi64x(high, low), swap)
    })
}

#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn load(state: State) -> Working {
    let [a, b, c, d, e, f, g, h] = state.map(u32::cast_signed);
    Working { abef: _mm_set_epi32(a, b, e, f), cdgh: _mm_set_epi32(c, d, g, h) }
}

#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn store(Working { abef, cdgh }: Working) -> State {
    let words = |vector| {
        [
            _mm_extract_epi32::<3>(vector),
            _mm_extract_epi32::<2>(vector),
            _mm_extract_epi32::<1>(vector),
            _mm_extract_epi32::<0>(vector),
        ]
    };
    let ([a, b, e, f], [c, d, g, h]) = (words(abef), words(cdgh));
    [a, b, c, d, e, f, g, h].map(i32::cast_unsigned)
}
