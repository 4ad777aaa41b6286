//! What it costs to load many policies, in time and in memory: `cargo bench -p policy-lab --bench load`.
//!
//! Ten thousand policies of four statements, parsed and compiled as the server does at its start. An allocator that
//! counts says what stays in memory; time is processor time, the least of some rounds.

#![expect(clippy::expect_used, reason = "a benchmark that cannot build its question has failed")]
#![expect(unsafe_code, reason = "an allocator that counts is one, and only this benchmark has it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use policy_lab::{Attached, Compiled, DocumentKind, Policy, PolicySet};

const POLICIES: usize = 10_000;
const STATEMENTS_PER_POLICY: usize = 4;
const ROUNDS: usize = 5;

/// The system's allocator, and how many bytes are in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on unchanged; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is ours.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is ours.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let texts: Vec<String> = (0..POLICIES).map(text).collect();
    let bytes: usize = texts.iter().map(String::len).sum();
    let statements = POLICIES * STATEMENTS_PER_POLICY;
    println!("{POLICIES} policies, {statements} statements, {} KiB of text", bytes / 1024);
    let mut parse = Duration::MAX;
    let mut compile = Duration::MAX;
    let mut memory = (0, 0);
    for _ in 0..ROUNDS {
        let empty = in_use();
        let started = now();
        let identity = texts.iter().map(|text| attached(text)).collect();
        parse = parse.min(now() - started);
        let set = PolicySet { identity, ..PolicySet::default() };
        let parsed = in_use();
        let started = now();
        let compiled = Compiled::new(set);
        compile = compile.min(now() - started);
        memory = (parsed - empty, in_use() - parsed);
        drop(compiled);
    }
    println!("parsing {parse:?}, the index {compile:?}");
    let each = |bytes: usize| bytes / statements;
    println!(
        "in memory {} bytes per statement: {} of the policies with their text, {} of the index",
        each(memory.0 + memory.1),
        each(memory.0),
        each(memory.1)
    );
}

fn attached(text: &str) -> Attached {
    let policy = Policy::parse(text, DocumentKind::Identity).expect("valid");
    Attached { name: Arc::from("p"), policy: Arc::new(policy) }
}

fn in_use() -> usize {
    IN_USE.load(Ordering::Relaxed)
}

/// Processor time of the thread.
fn now() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).expect("not negative");
    Duration::new(seconds, u32::try_from(now.tv_nsec).expect("below a second"))
}

/// Reading, writing and listing in a bucket, and a denial of plain HTTP from outside.
fn text(number: usize) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[
        {{"Effect":"Allow","Action":["s3:GetObject","s3:GetObjectVersion"],"Resource":"arn:aws:s3:::bucket-{number}/team/*"}},
        {{"Effect":"Allow","Action":"s3:Put*","Resource":"arn:aws:s3:::bucket-{number}/team/${{aws:username}}/*"}},
        {{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::bucket-{number}","Condition":{{"StringLike":{{"s3:prefix":"team/*"}}}}}},
        {{"Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::bucket-{number}/*","Condition":{{"Bool":{{"aws:SecureTransport":"false"}},"NotIpAddress":{{"aws:SourceIp":"10.0.0.0/8"}}}}}}]}}"#
    )
}
