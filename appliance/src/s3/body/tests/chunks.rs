//! The `aws-chunked` framing.

use std::collections::VecDeque;

use bytes::Bytes;
use proptest::prelude::*;

use super::wire::{
    Head, drain, head, headers, payload, signed_chunks, signed_trailer, unsigned_trailer,
};
use crate::s3::auth::Authenticated;
use crate::s3::body::checksum::Algorithm;
use crate::s3::body::chunked::{ChunkError, Decoder, Framing};
use crate::s3::body::{BodyError, Payload};

const SIGNED: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const SIGNED_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// The head of AWS's example; the length of the framed body is no part of what we verify here.
fn example_head() -> Head {
    head(
        "/examplebucket/chunkObject.txt",
        &[
            ("content-encoding", "aws-chunked"),
            ("content-length", "66824"),
            ("x-amz-content-sha256", SIGNED),
            ("x-amz-decoded-content-length", "66560"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ],
    )
}

fn chunk_head(kind: &str, length: usize, trailer: Option<Algorithm>) -> Head {
    let length = length.to_string();
    let mut pairs =
        vec![("x-amz-content-sha256", kind), ("x-amz-decoded-content-length", &*length)];
    pairs.extend(trailer.map(|algorithm| ("x-amz-trailer", algorithm.header())));
    head("/b/k", &pairs)
}

fn read(head: &Head, frames: Vec<Bytes>) -> (Vec<u8>, Result<(), BodyError>) {
    drain(&mut payload(frames, &head.authenticated, &head.headers).unwrap())
}

fn read_whole(head: &Head, body: &[u8]) -> (Vec<u8>, Result<(), BodyError>) {
    read(head, vec![Bytes::copy_from_slice(body)])
}

/// # Source
/// Amazon S3 API Reference, "Transferring Payload in Multiple Chunks (Chunked Upload)", example.
#[test]
fn the_published_example() {
    let head = example_head();
    assert_eq!(head.seed, "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9");
    let mut body = Vec::new();
    for (size, signature) in [
        (65_536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
        (1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
        (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
    ] {
        body.extend(format!("{size:x};chunk-signature={signature}\r\n").into_bytes());
        body.extend(vec![b'a'; size]);
        body.extend_from_slice(b"\r\n");
    }
    assert_eq!(body.len(), 66_824);
    let (released, end) = read_whole(&head, &body);
    assert_eq!(released, vec![b'a'; 66_560]);
    assert!(end.is_ok(), "{end:?}");
}

/// # Source
/// Amazon S3 API Reference, "Including trailing headers with chunked uploads", example. Its page prints another trailer
/// signature in the body than its own string to sign yields; this one is what the AWS SDKs test against.
#[test]
fn the_published_example_with_a_trailer() {
    let head = head(
        "/examplebucket/chunkObject.txt",
        &[
            ("content-encoding", "aws-chunked"),
            ("x-amz-content-sha256", SIGNED_TRAILER),
            ("x-amz-decoded-content-length", "66560"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-trailer", "x-amz-checksum-crc32c"),
        ],
    );
    assert_eq!(head.seed, "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e");
    let mut body = Vec::new();
    for (size, signature) in [
        (65_536, "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2"),
        (1024, "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7"),
        (0, "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"),
    ] {
        body.extend(format!("{size:x};chunk-signature={signature}\r\n").into_bytes());
        if size > 0 {
            body.extend(vec![b'a'; size]);
            body.extend_from_slice(b"\r\n");
        }
    }
    body.extend_from_slice(
        b"x-amz-checksum-crc32c:sOO8/Q==\n\r\nx-amz-trailer-signature:\
          d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n",
    );
    let mut payload = payload(vec![body.into()], &head.authenticated, &head.headers).unwrap();
    let (released, end) = drain(&mut payload);
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(released.len(), 66_560);
    let checksum = storage::Source::facts(&mut payload).checksum.unwrap();
    assert_eq!((checksum.algorithm.as_str(), checksum.value.as_str()), ("CRC32C", "sOO8/Q=="));
}

/// The exact body that minio-go sends, whose trailer line ends LF CRLF.
#[test]
fn the_trailer_of_minio_go() {
    let body = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32c:mnG7TA==\n\r\n\r\n";
    let (released, end) =
        read_whole(&chunk_head(UNSIGNED_TRAILER, 5, Some(Algorithm::Crc32c)), body);
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(released, b"hello");
}

#[test]
fn an_empty_object_is_one_signed_chunk() {
    let head = chunk_head(SIGNED, 0, None);
    let (mut body, _) = signed_chunks(&[], &head.seed);
    body.extend_from_slice(b"\r\n");
    assert!(read_whole(&head, &body).1.is_ok());
}

#[test]
fn every_algorithm_and_both_line_ends_in_signed_and_unsigned_trailers() {
    let chunks: [&[u8]; 2] = [b"hello ", b"world"];
    for algorithm in Algorithm::ALL {
        for line_end in ["\r\n", "\n\r\n"] {
            let unsigned = unsigned_trailer(&chunks, algorithm, line_end);
            let head = chunk_head(UNSIGNED_TRAILER, 11, Some(algorithm));
            assert!(read_whole(&head, &unsigned).1.is_ok());
            let head = chunk_head(SIGNED_TRAILER, 11, Some(algorithm));
            let signed = signed_trailer(&chunks, &head.seed, algorithm, line_end);
            assert!(read_whole(&head, &signed).1.is_ok());
        }
    }
}

#[test]
fn anonymous_clients_may_send_an_unsigned_trailer_but_no_signed_chunks() {
    let mut headers = headers(&[
        ("x-amz-content-sha256", UNSIGNED_TRAILER),
        ("x-amz-decoded-content-length", "2"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
    ]);
    let body: Bytes = unsigned_trailer(&[b"hi"], Algorithm::Crc32, "\r\n").into();
    let mut payload = payload(vec![body], &Authenticated::Anonymous, &headers).unwrap();
    assert_eq!(drain(&mut payload).0, b"hi");
    headers.insert("x-amz-content-sha256", SIGNED.parse().unwrap());
    let refused = super::wire::payload(Vec::new(), &Authenticated::Anonymous, &headers);
    assert_eq!(refused.unwrap_err().code(), "InvalidRequest");
}

#[test]
fn a_declared_trailer_must_arrive_and_verify_and_no_other() {
    let head = chunk_head(UNSIGNED_TRAILER, 5, Some(Algorithm::Crc32c));
    for (tail, code) in [
        ("\r\n", "MalformedTrailerError"),
        ("", "IncompleteBody"),
        ("x-amz-checksum-crc32c:mnG7TA==\r\n", "IncompleteBody"),
        ("x-amz-checksum-crc32c:mnG7TA==\n\n", "MalformedTrailerError"),
        ("x-amz-checksum-crc32c:mnG7TA==\r\n\r\n\r\n", "MalformedTrailerError"),
        ("x-amz-checksum-crc32c:mnG7TA==\r\nx-amz-meta-a:1\r\n\r\n", "MalformedTrailerError"),
        (
            "x-amz-checksum-crc32c:mnG7TA==\r\nx-amz-checksum-crc32c:mnG7TA==\r\n\r\n",
            "MalformedTrailerError",
        ),
        ("x-amz-checksum-crc32c\r\n\r\n", "MalformedTrailerError"),
        ("x-amz-checksum-crc32:AAAAAA==\r\n\r\n", "MalformedTrailerError"),
        ("x-amz-checksum-crc32c:AAAAAA==\r\n\r\n", "BadDigest"),
        ("x-amz-checksum-crc32c:junk\r\n\r\n", "BadDigest"),
    ] {
        let body = format!("5\r\nhello\r\n0\r\n{tail}");
        let (_, end) = read_whole(&head, body.as_bytes());
        assert_eq!(end.unwrap_err().code(), code, "{tail:?}");
    }
}

#[test]
fn a_signed_trailer_needs_its_signature() {
    let head = chunk_head(SIGNED_TRAILER, 5, Some(Algorithm::Crc32c));
    let (mut body, _) = signed_chunks(&[b"hello"], &head.seed);
    body.extend_from_slice(b"x-amz-checksum-crc32c:mnG7TA==\r\n\r\n");
    assert_eq!(read_whole(&head, &body).1.unwrap_err().code(), "MalformedTrailerError");
}

#[test]
fn the_decoded_length_must_match() {
    for length in [4, 6, 0, 1 << 40] {
        let head = chunk_head(SIGNED, length, None);
        let (mut body, _) = signed_chunks(&[b"hello"], &head.seed);
        body.extend_from_slice(b"\r\n");
        assert_eq!(read_whole(&head, &body).1.unwrap_err().code(), "IncompleteBody", "{length}");
    }
    let head = head("/b/k", &[("x-amz-content-sha256", SIGNED)]);
    let refused = payload(Vec::new(), &head.authenticated, &head.headers).unwrap_err();
    assert_eq!((refused.code(), refused.status()), ("MissingContentLength", 411));
}

#[test]
fn hostile_chunk_sizes() {
    let signature = "0".repeat(64);
    let signed = |size: &str| {
        let head = chunk_head(SIGNED, 1 << 40, None);
        let body = format!("{size};chunk-signature={signature}\r\n");
        read_whole(&head, body.as_bytes()).1.unwrap_err().code()
    };
    assert_eq!(signed("1000001"), "InvalidChunkSizeError");
    assert_eq!(signed("7fffffffffffffff"), "InvalidChunkSizeError");
    assert_eq!(signed("1000000"), "IncompleteBody");
    for size in ["", "-1", "+1", "0x1", "1g", " 1", "10000000000000000", "1;1"] {
        assert_eq!(signed(size), "InvalidRequest", "{size}");
    }
    let unsigned = |body: &str| {
        let head = chunk_head(UNSIGNED_TRAILER, usize::MAX, None);
        read_whole(&head, body.as_bytes()).1.unwrap_err().code()
    };
    assert_eq!(unsigned("1\r\na\r\nffffffffffffffff\r\n"), "IncompleteBody");
    assert_eq!(unsigned("5;chunk-signature=0\r\nhello"), "InvalidRequest");
    assert_eq!(unsigned("5\nhello"), "InvalidRequest");
    assert_eq!(unsigned("5\r\nhelloX"), "InvalidRequest");
    assert_eq!(unsigned(&"0".repeat(4000)), "InvalidRequest");
}

#[test]
fn trailers_are_refused_where_nothing_carries_them() {
    for kind in ["UNSIGNED-PAYLOAD", SIGNED] {
        let pairs = [
            ("x-amz-content-sha256", kind),
            ("x-amz-decoded-content-length", "0"),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
        ];
        let head = head("/b/k", &pairs);
        let refused = payload(Vec::new(), &head.authenticated, &head.headers).unwrap_err();
        assert_eq!(refused.code(), "InvalidRequest", "{kind}");
    }
}

/// One body of each kind, whole.
fn bodies() -> Vec<(Head, Vec<u8>, Vec<u8>)> {
    let chunks: [&[u8]; 3] = [b"first chunk", b"2", b"the third chunk\r\n"];
    let plain = chunks.concat();
    let head = chunk_head(SIGNED, plain.len(), None);
    let (mut body, _) = signed_chunks(&chunks, &head.seed);
    body.extend_from_slice(b"\r\n");
    let mut bodies = vec![(head, body, plain.clone())];
    for line_end in ["\r\n", "\n\r\n"] {
        let head = chunk_head(SIGNED_TRAILER, plain.len(), Some(Algorithm::Crc64Nvme));
        let body = signed_trailer(&chunks, &head.seed, Algorithm::Crc64Nvme, line_end);
        bodies.push((head, body, plain.clone()));
        let head = chunk_head(UNSIGNED_TRAILER, plain.len(), Some(Algorithm::Sha256));
        bodies.push((head, unsigned_trailer(&chunks, Algorithm::Sha256, line_end), plain.clone()));
    }
    bodies
}

#[test]
fn a_body_split_at_any_byte_decodes_equally() {
    for (head, body, plain) in bodies() {
        let body = Bytes::from(body);
        for at in 0..=body.len() {
            let (released, end) = read(&head, vec![body.slice(..at), body.slice(at..)]);
            assert!(end.is_ok(), "split at {at}: {end:?}");
            assert_eq!(released, plain);
        }
        let (released, end) = read(&head, body.chunks(1).map(Bytes::copy_from_slice).collect());
        assert_eq!((released, end.is_ok()), (plain, true));
    }
}

#[test]
fn a_body_cut_anywhere_fails() {
    for (head, body, plain) in bodies() {
        for at in 0..body.len() {
            let (released, end) = read_whole(&head, &body[..at]);
            assert!(end.is_err(), "cut at {at} of {}", body.len());
            assert!(plain.starts_with(&released));
        }
    }
}

/// A signed chunk is released whole and proven, or not at all; an unsigned body fails at its end.
#[test]
fn a_flipped_bit_fails_and_signed_bytes_are_never_released_unverified() {
    for (head, body, plain) in bodies() {
        let signed = head.headers["x-amz-content-sha256"] != UNSIGNED_TRAILER;
        for at in 0..body.len() {
            for bit in [0x01, 0x20, 0x80] {
                let mut changed = body.clone();
                changed[at] ^= bit;
                let (released, end) = read_whole(&head, &changed);
                // Hexadecimal digits and header names mean the same in either case.
                let same = bit == 0x20
                    && body[at].is_ascii_alphabetic()
                    && end.is_ok()
                    && released == plain;
                assert!(end.is_err() || same, "bit {bit:#x} of byte {at}");
                assert!(!signed || plain.starts_with(&released), "bit {bit:#x} of byte {at}");
            }
        }
    }
}

/// Frames of one byte must not cost more than their bytes.
#[test]
fn tiny_frames_are_joined_while_they_are_held() {
    let head = chunk_head(SIGNED, 10_000, None);
    let (mut body, _) = signed_chunks(&[&[7; 10_000]], &head.seed);
    body.extend_from_slice(b"\r\n");
    let frames = body.chunks(1).map(Bytes::copy_from_slice).collect();
    let mut payload: Payload = payload(frames, &head.authenticated, &head.headers).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let first = runtime.block_on(payload.next()).unwrap().unwrap();
    assert_eq!(first.len(), 10_000);
}

proptest! {
    /// Any chunking of any bytes, in any frames, comes out as it went in.
    #[test]
    fn round_trip(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..6000), 0..4),
        frame in 1_usize..7000,
        algorithm in prop::sample::select(Algorithm::ALL.to_vec()),
    ) {
        let plain = chunks.concat();
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let unsigned = chunk_head(UNSIGNED_TRAILER, plain.len(), Some(algorithm));
        let signed = chunk_head(SIGNED_TRAILER, plain.len(), Some(algorithm));
        let bodies = [
            (&unsigned, unsigned_trailer(&chunks, algorithm, "\r\n")),
            (&signed, signed_trailer(&chunks, &signed.seed, algorithm, "\r\n")),
        ];
        for (head, body) in bodies {
            let frames = body.chunks(frame).map(Bytes::copy_from_slice).collect();
            let (released, end) = read(head, frames);
            prop_assert!(end.is_ok(), "{:?}", end);
            prop_assert_eq!(&released, &plain);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        lines in prop::collection::vec("[0-9a-f]{0,3}(;chunk-signature=[0-9a-f]{64})?\r?\n[ -~]{0,8}\r\n", 0..4),
        length in any::<u64>(),
    ) {
        let signer = match &chunk_head(SIGNED, 0, None).authenticated {
            Authenticated::Signed(signed) => signed.chunk_key.clone(),
            Authenticated::Anonymous => None,
        };
        for body in [bytes, lines.concat().into_bytes()] {
            for signer in [None, signer.clone()] {
                let signed = signer.is_some();
                let framing = Framing { signer, trailer: true, checksum: Some(Algorithm::Crc32), length };
                let mut decoder = Decoder::new(framing);
                let mut out = VecDeque::new();
                let pushed = decoder.push(Bytes::copy_from_slice(&body), &mut out);
                let ended = pushed.and_then(|()| decoder.finish());
                prop_assert!(!signed || out.is_empty());
                prop_assert!(ended != Err(ChunkError::Trailer) || out.iter().map(Bytes::len).sum::<usize>() <= body.len());
            }
        }
    }
}
