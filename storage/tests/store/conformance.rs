//! Both seams, every implementation, one suite each.

use std::sync::Arc;

use storage::conformance;
use storage::drive::Drive;
use storage::drive::local::LocalDrive;
use storage::drive::memory::MemoryDrive;
use storage::metadata::memory::MemoryRows;
use storage::sim::seams_over;

fn memory_drives(count: usize) -> Vec<Arc<dyn Drive>> {
    (0..count).map(|_| Arc::new(MemoryDrive::new()) as Arc<dyn Drive>).collect()
}

#[tokio::test]
async fn rows_in_memory() {
    conformance::metadata(&MemoryRows::new()).await.unwrap();
}

#[tokio::test]
async fn rows_replicated_over_memory_drives() {
    for count in [1, 2, 3, 6] {
        let (rows, _) = seams_over(memory_drives(count), true).unwrap();
        conformance::metadata(&*rows).await.unwrap();
    }
}

#[tokio::test]
async fn blobs_over_memory_drives() {
    for count in [1, 2, 3, 4, 7, 9, 16] {
        for inline in [true, false] {
            let (rows, blobs) = seams_over(memory_drives(count), inline).unwrap();
            conformance::blobs(&*blobs, &*rows).await.unwrap();
        }
        let (_, blobs) = seams_over(memory_drives(count), false).unwrap();
        conformance::blobs(&*blobs, &MemoryRows::new()).await.unwrap();
    }
}

#[tokio::test]
async fn both_over_local_drives() {
    let scratch = tempfile::tempdir().unwrap();
    for inline in [true, false] {
        let open = |n: usize| {
            let directory = scratch.path().join(format!("{inline}{n}"));
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join("format.json"), "{}").unwrap();
            Arc::new(LocalDrive::open(&directory).unwrap()) as Arc<dyn Drive>
        };
        let (rows, blobs) = seams_over((0..4).map(open).collect(), inline).unwrap();
        conformance::metadata(&*rows).await.unwrap();
        conformance::blobs(&*blobs, &*rows).await.unwrap();
    }
}
