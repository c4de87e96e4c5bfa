//! What the user reads: results on standard output, everything else on standard error.

use std::io::{self, Write};

/// Prints a result.
pub fn print(text: &str) -> Result<(), String> {
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever reads has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| error.to_string()),
    }
}

/// Prints a line about what is being done; nobody may be left to read it.
pub fn tell_line(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// One line each to standard error; where that is gone, nobody is left to tell.
pub fn tell(kind: &str, text: &str) {
    for line in text.lines() {
        let _ = writeln!(io::stderr(), "{kind}: {line}");
    }
}
