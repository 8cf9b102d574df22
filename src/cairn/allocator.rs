//! The allocator of the whole process: RocksDB uses it too.

use tikv_jemalloc_ctl::background_thread;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Has a thread of the allocator's own give back what a peak took, however quiet it is
/// afterwards.
///
/// Not by the allocator's configuration: it would make the thread before `main`, where the C
/// library of a static binary does not know yet that stacks hold no code, and asks for memory that is
/// both written and run. Where that is forbidden (`MemoryDenyWriteExecute` of the unit) there
/// would be no thread.
pub(crate) fn give_back_by_itself() {
    if let Err(error) = background_thread::write(true) {
        log::warn!("memory is given back only while there is work: {error}");
    }
}
