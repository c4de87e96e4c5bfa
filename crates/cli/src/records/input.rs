//! Standard input, read by a thread of its own: meanwhile answers are taken, and Ctrl-C is heard. The thread ends with the process.

use std::io::{self, Read, StdinLock};

use tokio::sync::mpsc;

use super::lines::read_line;

/// So many lines are read ahead.
const AHEAD_MAX: usize = 1000;

/// Pieces of the input, or why it can't be read.
pub type Pieces = mpsc::Receiver<io::Result<Vec<u8>>>;

/// Line by line, of `bytes_max` at most each.
pub fn lines(bytes_max: u64) -> Pieces {
    pieces(move |from| read_line(from, bytes_max))
}

/// All of it in one piece, of which at most one byte more than `bytes_max` is read.
pub fn whole(bytes_max: u64) -> Pieces {
    let mut is_read = false;
    pieces(move |from| {
        if std::mem::replace(&mut is_read, true) {
            return Ok(None);
        }
        let mut all = Vec::new();
        from.take(bytes_max.saturating_add(1)).read_to_end(&mut all)?;
        Ok(Some(all))
    })
}

fn pieces(
    mut next: impl FnMut(&mut StdinLock<'static>) -> io::Result<Option<Vec<u8>>> + Send + 'static,
) -> Pieces {
    let (told, pieces) = mpsc::channel(AHEAD_MAX);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        while let Some(piece) = next(&mut input).transpose() {
            let is_last = piece.is_err();
            if told.blocking_send(piece).is_err() || is_last {
                return;
            }
        }
    });
    pieces
}
