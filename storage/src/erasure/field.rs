//! GF(2^8) with the polynomial 0x11D, byte for byte the field of `reed_solomon_erasure::galois_8`.
//!
//! The stock field multiplies a byte at a time (2 GB/s); its `simd-accel` feature bakes in `-march=haswell` and dies with
//! SIGILL on older processors. This one asks the processor at run time.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vector kernels; each has a safe scalar twin and a property test")]
mod x86;

use reed_solomon_erasure::Field;
use reed_solomon_erasure::galois_8;

/// The field with run-time dispatch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fast;

impl Field for Fast {
    const ORDER: usize = 256;
    type Elem = u8;

    fn add(a: u8, b: u8) -> u8 {
        a ^ b
    }

    fn mul(a: u8, b: u8) -> u8 {
        galois_8::mul(a, b)
    }

    fn div(a: u8, b: u8) -> u8 {
        galois_8::div(a, b)
    }

    fn exp(a: u8, n: usize) -> u8 {
        galois_8::exp(a, n)
    }

    fn zero() -> u8 {
        0
    }

    fn one() -> u8 {
        1
    }

    fn nth_internal(n: usize) -> u8 {
        n as u8
    }

    fn mul_slice(factor: u8, input: &[u8], out: &mut [u8]) {
        assert_eq!(input.len(), out.len(), "slices of one length");
        #[cfg(target_arch = "x86_64")]
        if x86::mul(factor, input, out) {
            return;
        }
        galois_8::mul_slice(factor, input, out);
    }

    fn mul_slice_add(factor: u8, input: &[u8], out: &mut [u8]) {
        assert_eq!(input.len(), out.len(), "slices of one length");
        #[cfg(target_arch = "x86_64")]
        if x86::mul_add(factor, input, out) {
            return;
        }
        galois_8::mul_slice_xor(factor, input, out);
    }
}

/// `factor` times each value of a low and of a high nibble: all that a byte shuffle needs.
fn nibble_products(factor: u8) -> ([u8; 16], [u8; 16]) {
    let low = std::array::from_fn(|nibble| galois_8::mul(factor, nibble as u8));
    let high = std::array::from_fn(|nibble| galois_8::mul(factor, (nibble as u8) << 4));
    (low, high)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_the_stock_field(
            factor: u8,
            input in proptest::collection::vec(any::<u8>(), 0..700),
            seed: u8,
            skew in 0usize..33,
        ) {
            let input = &input[skew.min(input.len())..];
            let mut fast = vec![seed; input.len()];
            let mut stock = fast.clone();
            Fast::mul_slice(factor, input, &mut fast);
            galois_8::mul_slice(factor, input, &mut stock);
            prop_assert_eq!(&fast, &stock);
            Fast::mul_slice_add(factor.wrapping_add(3), input, &mut fast);
            galois_8::mul_slice_xor(factor.wrapping_add(3), input, &mut stock);
            prop_assert_eq!(&fast, &stock);
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn every_kernel_equals_the_stock_field() {
        let input: Vec<u8> = (0..1000u32).map(|i| (i * 7 + i / 256) as u8).collect();
        for factor in 0..=255u8 {
            for kernel in x86::available() {
                let mut fast = vec![5; input.len()];
                let mut stock = fast.clone();
                x86::run(kernel, factor, &input, &mut fast, x86::Store::Overwrite);
                galois_8::mul_slice(factor, &input, &mut stock);
                assert_eq!(fast, stock, "{kernel:?} times {factor}");
                x86::run(kernel, factor, &input, &mut fast, x86::Store::Add);
                galois_8::mul_slice_xor(factor, &input, &mut stock);
                assert_eq!(fast, stock, "{kernel:?} plus {factor}");
            }
        }
    }
}
