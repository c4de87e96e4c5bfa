//! Receive buffers, lent to a connection only while it has something to read.
//!
//! An idle connection holds none, so that thousands of them cost no memory; a busy one finds its last buffer again.

use std::cell::RefCell;

use bytes::BytesMut;

/// What one read may take in, such that requests which wait behind each other arrive together; larger frames get a buffer
/// of their own size.
pub const READ_BYTES: usize = 256 * 1024;
/// What one network thread keeps for the next reader.
const POOL_BYTES_MAX: usize = 8 * 1024 * 1024;

#[derive(Default)]
struct Pool {
    buffers: Vec<BytesMut>,
    bytes: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

/// An empty buffer with room for at least `READ_BYTES`.
pub fn take() -> BytesMut {
    POOL.with_borrow_mut(|pool| match pool.buffers.pop() {
        Some(buffer) => {
            pool.bytes -= buffer.capacity();
            buffer
        }
        None => BytesMut::with_capacity(READ_BYTES),
    })
}

/// Takes back a buffer that holds nothing. One that a frame in flight still refers to is let go with that frame.
pub fn give_back(mut buffer: BytesMut) {
    debug_assert!(buffer.is_empty());
    if !buffer.try_reclaim(READ_BYTES) {
        return;
    }
    POOL.with_borrow_mut(|pool| {
        if pool.bytes + buffer.capacity() <= POOL_BYTES_MAX {
            pool.bytes += buffer.capacity();
            pool.buffers.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_returned_buffer_is_lent_again_and_one_still_referred_to_is_not() {
        let mut buffer = take();
        buffer.extend_from_slice(&[1; 100]);
        let address = buffer.as_ptr();
        let frame = buffer.split_to(100).freeze();
        drop(frame);
        give_back(buffer);
        let mut again = take();
        assert_eq!(again.as_ptr(), address);

        again.extend_from_slice(&[2; 100]);
        let frame = again.split_to(100).freeze();
        give_back(again);
        assert_ne!(take().as_ptr(), address);
        assert_eq!(frame[..], [2; 100]);
    }
}
