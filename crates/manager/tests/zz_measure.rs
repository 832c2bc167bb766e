use std::time::Instant;
use jiff::Timestamp;
use replica_count_core::event::{Event, EventKind};
use replica_count_core::history::Bounds;
use replica_count_core::target::Target;
use replica_count_core::replicas::Replicas;
use replica_count_core::drift::Drift;
use replica_count_core::history::query::Filter;
use replica_count_manager::history::{self, file::HistoryFile};
#[test]
fn measure() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("replicas.json.history");
    let (file, entries) = HistoryFile::open(path.clone(), path.clone(), 16<<20);
    let (h, recorder, writer) = history::in_file(Bounds::DEFAULT, file, entries);
    let t = std::thread::spawn(|| writer.run());
    let drift = Drift { uid: "u".into(), by: None, likely_by: Some("kubectl".into()), at: Timestamp::UNIX_EPOCH, from: Replicas::new(3).unwrap(), to: Replicas::new(7).unwrap() };
    let events: Vec<_> = (0..100_000).map(|n| Event { target: Target::deployment("shop", &format!("web-{}", n % 10_000)).unwrap(), at: Timestamp::UNIX_EPOCH, generation: Some(1), kind: EventKind::Drifted { drift: drift.clone(), is_contested: false } }).collect();
    let start = Instant::now();
    for event in &events { recorder.record(event); }
    println!("record: {:?} each", start.elapsed() / 100_000);
    drop(recorder);
    t.join().unwrap();
    println!("written after {:?}; {} entries, {} bytes, file {}", start.elapsed(), h.read(|h| h.len()), h.read(|h| h.bytes()), std::fs::metadata(&path).unwrap().len());
    let start = Instant::now();
    let f = Filter { namespace: Some("other".into()), ..Default::default() };
    h.read(|h| h.page(&f, None, 100));
    println!("scan of all: {:?}", start.elapsed());
    let rss = || std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4;
    println!("rss {} KiB", rss());
    drop(h); drop(events);
    let start = Instant::now();
    let (file, entries) = HistoryFile::open(path.clone(), path.clone(), 16<<20);
    let (h, _r, _w) = history::in_file(Bounds::DEFAULT, file, entries);
    println!("restored {} in {:?}", h.read(|h| h.len()), start.elapsed());
}
