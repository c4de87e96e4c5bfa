//! What the offset index and the time index do alike: they are [`Entries`](super::entries::Entries) of their kind, and
//! nothing else.

/// For a type with the fields of one, `entries: Entries<Raw>`, and a method `absolute` that completes a `Raw`.
macro_rules! over_entries {
    ($index:ident) => {
        impl $index {
            /// Touches no file: the first use does.
            pub fn new(
                dir: std::sync::Arc<crate::partition_dir::PartitionDir>,
                base_offset: i64,
                state: crate::names::FileState,
            ) -> $index {
                $index { entries: Entries::new(dir, base_offset, state) }
            }

            pub fn path(&self) -> std::path::PathBuf {
                self.entries.path()
            }

            /// Removes all entries with an offset of `offset` or larger.
            pub fn truncate_to(&self, offset: i64) -> Result<(), IndexError> {
                let (keep, _) = self.entries.partition_point(|entry| self.absolute(entry).offset, offset)?;
                self.entries.truncate(keep)
            }

            /// Removes all entries.
            pub fn reset(&self) -> Result<(), IndexError> {
                self.entries.truncate(0)
            }

            pub fn base_offset(&self) -> i64 {
                self.entries.base_offset()
            }

            /// Entries.
            pub fn len(&self) -> Result<u32, IndexError> {
                self.entries.len()
            }

            pub fn is_empty(&self) -> Result<bool, IndexError> {
                Ok(self.len()? == 0)
            }

            pub fn size_bytes(&self) -> Result<u64, IndexError> {
                Ok(u64::from(self.len()?) * Raw::SIZE as u64)
            }

            /// Writes all entries and cuts off preallocated space behind them.
            pub fn trim(&self) -> Result<(), IndexError> {
                self.entries.trim()
            }

            /// Makes the entries durable.
            pub fn flush(&self) -> Result<(), IndexError> {
                self.entries.flush()
            }

            /// Trims, and frees file and memory until the next use.
            pub fn close(&self) -> Result<(), IndexError> {
                self.entries.close()
            }

            pub fn rename(&self, to: crate::names::FileState) -> Result<(), IndexError> {
                self.entries.rename(to)
            }

            /// Removes the file, if there is one.
            pub fn delete(&self) -> Result<(), IndexError> {
                self.entries.delete()
            }
        }
    };
}
