use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds { records: 4, bytes: 1000 };

fn item(seq: u64) -> Item {
    Item {
        seq,
        event: format!("event-{seq}"),
        time_us: seq,
        leaf: Bytes::from(format!("leaf-{seq}")),
        body: Bytes::from(format!("body-{seq}")),
    }
}

fn retry() -> Retry {
    Retry { min: Duration::from_millis(100), max: Duration::from_secs(10) }
}

fn at(next: u64) -> Delivery {
    Delivery::new(Position { next, until: None }, BOUNDS, retry(), 1)
}

/// Lets the log have `size` records that are all wanted.
fn fill(delivery: &mut Delivery, size: u64) {
    delivery.log_has(size);
    for seq in delivery.read_to()..size {
        delivery.read(seq, Some(item(seq)));
    }
}

/// Persists whatever is asked for, and returns the records that are sent next.
fn sent(delivery: &mut Delivery, now_ms: u64) -> Vec<u64> {
    loop {
        match delivery.step(now_ms) {
            Step::Persist(position) => delivery.persisted(position, now_ms),
            Step::Send(items) => return items.iter().map(|item| item.seq).collect(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_range_is_durable_before_it_leaves_and_the_cursor_moves_after_the_answer() {
    let mut delivery = at(0);
    assert_eq!(delivery.step(0), Step::Read);
    fill(&mut delivery, 6);
    let first = Position { next: 0, until: Some(4) };
    assert_eq!(delivery.step(0), Step::Persist(first));
    delivery.persisted(first, 0);
    assert_eq!(sent(&mut delivery, 0), [0, 1, 2, 3]);
    assert_eq!(delivery.next(), 0, "nothing is done with before the answer");
    delivery.answered(Answer::Confirmed, 0);
    assert_eq!(delivery.next(), 4);
    assert_eq!(delivery.step(0), Step::Persist(Position { next: 4, until: Some(6) }));
    assert_eq!(sent(&mut delivery, 0), [4, 5]);
    delivery.answered(Answer::Confirmed, 0);
    let idle = Position { next: 6, until: None };
    assert_eq!(delivery.step(0), Step::Persist(idle));
    delivery.persisted(idle, 0);
    assert_eq!(delivery.step(0), Step::Read);
}

#[test]
fn bytes_bound_a_batch_and_a_large_record_goes_alone() {
    let mut delivery = Delivery::new(
        Position { next: 0, until: None },
        Bounds { records: 100, bytes: 10 },
        retry(),
        1,
    );
    delivery.log_has(4);
    for (seq, bytes) in [(0, 50), (1, 5), (2, 5), (3, 1)] {
        delivery.read(seq, Some(Item { body: vec![b'x'; bytes].into(), ..item(seq) }));
    }
    for expected in [vec![0], vec![1, 2], vec![3]] {
        assert_eq!(sent(&mut delivery, 0), expected);
        delivery.answered(Answer::Confirmed, 0);
    }
}

#[test]
fn a_batch_that_was_under_way_comes_again_as_it_was() {
    let mut delivery = Delivery::new(Position { next: 2, until: Some(4) }, BOUNDS, retry(), 1);
    delivery.log_has(9);
    delivery.read(2, Some(item(2)));
    assert_eq!(delivery.step(0), Step::Read, "all of the batch must be there");
    fill(&mut delivery, 9);
    assert_eq!(sent(&mut delivery, 0), [2, 3]);
    delivery.answered(Answer::Confirmed, 0);
    assert_eq!(sent(&mut delivery, 0), [4, 5, 6, 7]);
}

#[test]
fn a_refusal_is_narrowed_down_to_its_record() {
    let mut delivery = at(0);
    fill(&mut delivery, 4);
    let mut tried = Vec::new();
    let mut aside = Vec::new();
    while delivery.next() < 4 {
        match delivery.step(0) {
            Step::Persist(position) => delivery.persisted(position, 0),
            Step::Send(items) => {
                let seqs: Vec<u64> = items.iter().map(|item| item.seq).collect();
                let poison = seqs.contains(&2);
                tried.push(seqs);
                let answer = if poison { Answer::Refused("no".into()) } else { Answer::Confirmed };
                delivery.answered(answer, 0);
            }
            Step::SetAside(rejected) => {
                aside.extend(rejected.iter().map(|rejected| rejected.item.seq));
                delivery.set_aside();
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(tried, [vec![0, 1, 2, 3], vec![0, 1], vec![2, 3], vec![2], vec![3]]);
    assert_eq!(aside, [2]);
}

#[test]
fn a_receiver_that_refuses_everything_is_misconfigured() {
    let mut delivery = at(0);
    fill(&mut delivery, 40);
    let mut aside = 0;
    let why = loop {
        match delivery.step(0) {
            Step::Persist(position) => delivery.persisted(position, 0),
            Step::Send(_) => delivery.answered(Answer::Refused("400 no".into()), 0),
            Step::SetAside(rejected) => {
                aside += rejected.len();
                delivery.set_aside();
            }
            Step::Paused => break delivery.paused().unwrap().clone(),
            other => panic!("{other:?}"),
        }
    };
    assert!(why.contains("in a row") && why.contains("400 no"), "{why}");
    assert_eq!(aside, REFUSED_IN_A_ROW_MAX - 1);
    assert_eq!(delivery.next(), aside as u64);
    delivery.resume();
    assert_eq!(sent(&mut delivery, 0), [9], "it goes on with the record that it stopped at");
}

#[test]
fn verdicts_count_up_to_the_first_record_that_must_come_again() {
    let mut delivery = at(0);
    fill(&mut delivery, 4);
    assert_eq!(sent(&mut delivery, 0), [0, 1, 2, 3]);
    let verdicts = vec![
        Verdict::Stored,
        Verdict::Refused("mapping".into()),
        Verdict::Later("busy".into()),
        Verdict::Stored,
    ];
    delivery.answered(Answer::Each(verdicts), 0);
    let Step::SetAside(rejected) = delivery.step(0) else { panic!("nothing is set aside") };
    assert_eq!(rejected.iter().map(|r| r.item.seq).collect::<Vec<_>>(), [1]);
    assert_eq!(delivery.next(), 0, "not before it is kept");
    delivery.set_aside();
    assert_eq!(delivery.next(), 2);
    let Step::RestUntil(until_ms) = delivery.step(0) else { panic!("no rest") };
    assert_eq!(sent(&mut delivery, until_ms), [2, 3]);
    delivery.answered(Answer::Each(vec![Verdict::Stored]), until_ms);
    assert_eq!(delivery.next(), 2, "an answer of the wrong length confirms nothing");
}

#[test]
fn waiting_is_what_the_receiver_asks_for_and_ends_with_a_resume() {
    let mut delivery = at(0);
    fill(&mut delivery, 1);
    assert_eq!(sent(&mut delivery, 5), [0]);
    let wait = Some(Duration::from_secs(120));
    delivery.answered(Answer::Later { wait, why: "429".into() }, 5);
    assert_eq!(delivery.step(5), Step::RestUntil(120_005));
    assert_eq!(delivery.step(120_004), Step::RestUntil(120_005));
    assert_eq!(delivery.failures(), 1);
    delivery.resume();
    assert_eq!(sent(&mut delivery, 6), [0]);
    delivery.answered(Answer::Halt("403".into()), 6);
    assert_eq!(delivery.step(u64::MAX), Step::Paused);
    delivery.replay(0);
    assert_eq!(delivery.step(7), Step::Read);
}

#[test]
fn unwanted_records_move_the_cursor_without_a_write_each() {
    let mut delivery = at(0);
    delivery.persisted(Position { next: 0, until: None }, 10_000);
    delivery.log_has(3);
    for seq in 0..3 {
        delivery.read(seq, None);
    }
    assert_eq!(delivery.step(10_000), Step::Read);
    assert_eq!(delivery.next(), 3);
    assert_eq!(delivery.step(11_000), Step::Persist(Position { next: 3, until: None }));
}

#[test]
fn a_day_without_the_receiver_costs_few_attempts_and_no_record() {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    let position = Position { next: 0, until: None };
    let mut delivery = Delivery::new(position, BOUNDS, Retry::default(), 9);
    fill(&mut delivery, 100);
    let (mut now_ms, mut attempts, mut received) = (0, 0, Vec::new());
    while delivery.next() < 100 {
        match delivery.step(now_ms) {
            Step::Persist(position) => delivery.persisted(position, now_ms),
            Step::Send(_) if now_ms < DAY_MS => {
                attempts += 1;
                delivery.answered(Answer::Later { wait: None, why: "down".into() }, now_ms);
            }
            Step::Send(items) => {
                received.extend(items.iter().map(|item| item.seq));
                delivery.answered(Answer::Confirmed, now_ms);
            }
            Step::RestUntil(until_ms) => now_ms = until_ms,
            other => panic!("{other:?}"),
        }
    }
    assert!((288..=600).contains(&attempts), "{attempts} attempts");
    assert!(now_ms < DAY_MS + 300_000, "it went on {} ms after the day", now_ms - DAY_MS);
    assert!(received.into_iter().eq(0..100));
}

/// A receiver with moods, a log that grows, and crashes: what a whole day of faults comes down to.
#[derive(Debug, Default)]
struct Receiver {
    /// First receipt, in order.
    first: Vec<u64>,
    has: BTreeSet<u64>,
    /// The records of each batch id that was ever used.
    batches: BTreeMap<(u64, u64), Vec<u64>>,
}

#[derive(Clone, Copy, Debug)]
enum Mood {
    Takes,
    TakesAndDropsTheAnswer,
    Busy,
    Partly(usize),
    Down,
}

fn mood() -> impl Strategy<Value = Mood> {
    prop_oneof![
        4 => Just(Mood::Takes),
        1 => Just(Mood::TakesAndDropsTheAnswer),
        1 => Just(Mood::Busy),
        2 => (0_usize..4).prop_map(Mood::Partly),
        1 => Just(Mood::Down),
    ]
}

impl Receiver {
    fn takes(&mut self, seq: u64) {
        if self.has.insert(seq) {
            self.first.push(seq);
        }
    }

    fn answer(&mut self, items: &[Item], poison: u64, mood: Mood) -> Answer {
        let seqs: Vec<u64> = items.iter().map(|item| item.seq).collect();
        let id = (seqs[0], seqs[seqs.len() - 1]);
        let known = self.batches.entry(id).or_insert_with(|| seqs.clone());
        assert_eq!(*known, seqs, "one batch id stands for one list of records");
        let is_poison = |seq: &u64| seq % poison == poison - 1;
        match mood {
            Mood::Down | Mood::Busy => Answer::Later { wait: None, why: "later".into() },
            Mood::Partly(taken) => Answer::Each(
                seqs.iter()
                    .enumerate()
                    .map(|(index, seq)| match (index < taken, is_poison(seq)) {
                        (_, true) => Verdict::Refused("poison".into()),
                        (true, false) => {
                            self.takes(*seq);
                            Verdict::Stored
                        }
                        (false, false) => Verdict::Later("busy".into()),
                    })
                    .collect(),
            ),
            Mood::Takes | Mood::TakesAndDropsTheAnswer => {
                if seqs.iter().any(is_poison) {
                    return Answer::Refused("poison".into());
                }
                seqs.iter().for_each(|seq| self.takes(*seq));
                match mood {
                    Mood::Takes => Answer::Confirmed,
                    _ => Answer::Later { wait: None, why: "reset".into() },
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_and_order_is_kept(
        moods in proptest::collection::vec((mood(), 0_u8..20), 1..400),
        size in 1_u64..80,
        records in 1_usize..7,
        poison in 3_u64..20,
        unwanted in 2_u64..9,
    ) {
        let wanted = |seq: u64| !seq.is_multiple_of(unwanted);
        let bounds = Bounds { records, bytes: 60 };
        let (mut receiver, mut aside) = (Receiver::default(), BTreeSet::new());
        let mut durable = Position { next: 0, until: None };
        let mut delivery = Delivery::new(durable, bounds, retry(), size);
        let mut moods = moods.into_iter().chain(std::iter::repeat((Mood::Takes, 1)));
        let mut now_ms = 10_000;
        for turn in 0.. {
            prop_assert!(turn < 20_000, "no end in sight: {delivery:?}");
            let (mood, luck) = moods.next().unwrap_or((Mood::Takes, 1));
            if luck == 0 {
                // A crash: only the cursor file is left.
                delivery = Delivery::new(durable, bounds, retry(), turn);
            }
            let log_size = size.min(1 + turn);
            delivery.log_has(log_size);
            match delivery.step(now_ms) {
                Step::Read if delivery.read_to() < log_size => {
                    let seq = delivery.read_to();
                    delivery.read(seq, wanted(seq).then(|| item(seq)));
                }
                Step::Read if log_size == size && delivery.next() == size => break,
                Step::Read => {}
                Step::Persist(position) => {
                    prop_assert!(position.next >= durable.next, "the cursor went back");
                    for seq in (0..position.next).filter(|seq| wanted(*seq)) {
                        prop_assert!(
                            receiver.has.contains(&seq) || aside.contains(&seq),
                            "{seq} is below the cursor and nowhere"
                        );
                    }
                    durable = position;
                    delivery.persisted(position, now_ms);
                }
                Step::Send(items) => {
                    if records > 1 {
                        let last = items.last().map_or(0, |item| item.seq + 1);
                        let until = durable.until.unwrap_or_default();
                        prop_assert_eq!(durable.next, delivery.next());
                        prop_assert!(until >= last && !(last..until).any(wanted), "{durable:?}");
                    }
                    let answer = receiver.answer(&items, poison, mood);
                    delivery.answered(answer, now_ms);
                }
                Step::SetAside(rejected) => {
                    aside.extend(rejected.iter().map(|rejected| rejected.item.seq));
                    delivery.set_aside();
                }
                Step::RestUntil(until_ms) => now_ms = until_ms,
                Step::Paused => delivery.resume(),
            }
            now_ms += 1;
        }
        let mut sorted = receiver.first.clone();
        sorted.sort_unstable();
        prop_assert_eq!(&receiver.first, &sorted, "records overtook each other");
        for seq in (0..size).filter(|seq| wanted(*seq)) {
            let is_poison = seq % poison == poison - 1;
            prop_assert_eq!(aside.contains(&seq), is_poison, "{}", seq);
            prop_assert_eq!(receiver.has.contains(&seq), !is_poison, "{}", seq);
        }
    }
}
