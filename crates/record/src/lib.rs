//! Record batches: headers in place, lazy iteration, building, validation, compression.
