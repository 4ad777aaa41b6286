//! Vector kernels of x86-64: AVX2 and SSSE3 byte shuffles over nibble tables.
//!
//! This module and no other has `unsafe`. A kernel is only reached through [`run`], which is only handed a [`Kernel`] that
//! [`available`] or [`best`] found on this processor. What a kernel leaves over (less than one vector) is done by the
//! stock field.
//!
//! # Source
//! Plank, Greenan, Miller, "Screaming Fast Galois Field Arithmetic Using Intel SIMD Instructions", FAST 2013.

use std::arch::x86_64::{
    __m128i, __m256i, _mm_and_si128, _mm_loadu_si128, _mm_set1_epi8, _mm_shuffle_epi8,
    _mm_srli_epi64, _mm_storeu_si128, _mm_xor_si128, _mm256_and_si256, _mm256_broadcastsi128_si256,
    _mm256_loadu_si256, _mm256_set1_epi8, _mm256_shuffle_epi8, _mm256_srli_epi64,
    _mm256_storeu_si256, _mm256_xor_si256,
};

use reed_solomon_erasure::galois_8;

use super::nibble_products;

/// An instruction set that this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kernel {
    Avx2,
    Ssse3,
}

/// What happens to the bytes that are already in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Store {
    Overwrite,
    Add,
}

/// The kernels that run here.
#[cfg(test)]
pub(super) fn available() -> Vec<Kernel> {
    let mut kernels = Vec::new();
    if is_x86_feature_detected!("avx2") {
        kernels.push(Kernel::Avx2);
    }
    if is_x86_feature_detected!("ssse3") {
        kernels.push(Kernel::Ssse3);
    }
    kernels
}

/// The fastest kernel that runs here. The standard library caches the answer of the processor.
fn best() -> Option<Kernel> {
    if is_x86_feature_detected!("avx2") {
        Some(Kernel::Avx2)
    } else if is_x86_feature_detected!("ssse3") {
        Some(Kernel::Ssse3)
    } else {
        None
    }
}

/// Multiplies if there is a kernel; says whether it did.
pub(super) fn mul(factor: u8, input: &[u8], out: &mut [u8]) -> bool {
    best().map(|kernel| run(kernel, factor, input, out, Store::Overwrite)).is_some()
}

/// Multiplies and adds if there is a kernel; says whether it did.
pub(super) fn mul_add(factor: u8, input: &[u8], out: &mut [u8]) -> bool {
    best().map(|kernel| run(kernel, factor, input, out, Store::Add)).is_some()
}

/// Runs one kernel, and the stock field on the rest.
pub(super) fn run(kernel: Kernel, factor: u8, input: &[u8], out: &mut [u8], store: Store) {
    assert_eq!(input.len(), out.len(), "slices of one length");
    let width = match kernel {
        Kernel::Avx2 => 32,
        Kernel::Ssse3 => 16,
    };
    let whole = input.len() / width * width;
    let (input, input_rest) = input.split_at(whole);
    let (out, out_rest) = out.split_at_mut(whole);
    // SAFETY: a `Kernel` exists only where its instruction set was detected, both slices have the same length, and that
    // length is a multiple of the vector width.
    unsafe {
        match kernel {
            Kernel::Avx2 => avx2(factor, input, out, store),
            Kernel::Ssse3 => ssse3(factor, input, out, store),
        }
    }
    match store {
        Store::Overwrite => galois_8::mul_slice(factor, input_rest, out_rest),
        Store::Add => galois_8::mul_slice_xor(factor, input_rest, out_rest),
    }
}

/// # Safety
/// AVX2 is there; `input` and `out` have one length, a multiple of 32.
#[target_feature(enable = "avx2")]
unsafe fn avx2(factor: u8, input: &[u8], out: &mut [u8], store: Store) {
    let (low, high) = nibble_products(factor);
    // SAFETY: both tables have 16 bytes; loads and stores are unaligned and stay within chunks of 32 bytes.
    unsafe {
        let low = _mm256_broadcastsi128_si256(_mm_loadu_si128(low.as_ptr().cast::<__m128i>()));
        let high = _mm256_broadcastsi128_si256(_mm_loadu_si128(high.as_ptr().cast::<__m128i>()));
        let mask = _mm256_set1_epi8(0x0f);
        for (input, out) in input.chunks_exact(32).zip(out.chunks_exact_mut(32)) {
            let bytes = _mm256_loadu_si256(input.as_ptr().cast::<__m256i>());
            let from_low = _mm256_shuffle_epi8(low, _mm256_and_si256(bytes, mask));
            let upper = _mm256_and_si256(_mm256_srli_epi64::<4>(bytes), mask);
            let mut product = _mm256_xor_si256(from_low, _mm256_shuffle_epi8(high, upper));
            let out = out.as_mut_ptr().cast::<__m256i>();
            if store == Store::Add {
                product = _mm256_xor_si256(product, _mm256_loadu_si256(out));
            }
            _mm256_storeu_si256(out, product);
        }
    }
}

/// # Safety
/// SSSE3 is there; `input` and `out` have one length, a multiple of 16.
#[target_feature(enable = "ssse3")]
unsafe fn ssse3(factor: u8, input: &[u8], out: &mut [u8], store: Store) {
    let (low, high) = nibble_products(factor);
    // SAFETY: both tables have 16 bytes; loads and stores are unaligned and stay within chunks of 16 bytes.
    unsafe {
        let low = _mm_loadu_si128(low.as_ptr().cast::<__m128i>());
        let high = _mm_loadu_si128(high.as_ptr().cast::<__m128i>());
        let mask = _mm_set1_epi8(0x0f);
        for (input, out) in input.chunks_exact(16).zip(out.chunks_exact_mut(16)) {
            let bytes = _mm_loadu_si128(input.as_ptr().cast::<__m128i>());
            let from_low = _mm_shuffle_epi8(low, _mm_and_si128(bytes, mask));
            let upper = _mm_and_si128(_mm_srli_epi64::<4>(bytes), mask);
            let mut product = _mm_xor_si128(from_low, _mm_shuffle_epi8(high, upper));
            let out = out.as_mut_ptr().cast::<__m128i>();
            if store == Store::Add {
                product = _mm_xor_si128(product, _mm_loadu_si128(out));
            }
            _mm_storeu_si128(out, product);
        }
    }
}
