//! What commands print: data on standard output, in the format that was asked for; everything else on standard error.
//!
//! A command makes rows of a table of columns ([`Column`]), and knows nothing of formats.

mod cell;
mod listing;
mod stream;
mod table;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

pub use cell::{BASE64, Cell, Tone, show_bytes};
pub use listing::{Column, Details, Listing, column, wide};
pub use stream::Stream;
pub use table::Look;

use crate::error::Failure;

/// How data are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For people with wide screens: all columns
    Wide,
    /// One JSON array
    Json,
    /// One JSON object a line
    Jsonl,
    /// One YAML list
    Yaml,
}

/// Prints data to one place, in one format.
pub struct Printer {
    out: Box<dyn Write>,
    format: Format,
    look: Look,
}

impl std::fmt::Debug for Printer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Printer").field("format", &self.format).finish_non_exhaustive()
    }
}

impl Printer {
    pub fn new(out: Box<dyn Write>, format: Format, has_heads: bool, is_coloured: bool) -> Printer {
        let look = Look { is_wide: format == Format::Wide, has_heads, is_coloured };
        Printer { out, format, look }
    }

    pub fn format(&self) -> Format {
        self.format
    }

    pub fn is_for_people(&self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    pub fn listing(&mut self, listing: &Listing) -> Result<(), Failure> {
        if self.is_for_people() {
            return self.text(&table::table(listing, self.look));
        }
        self.values(&listing.objects())
    }

    pub fn details(&mut self, details: &[Details]) -> Result<(), Failure> {
        if self.is_for_people() {
            return self.text(&table::details(details, self.look));
        }
        self.values(details)
    }

    fn values<T: Serialize>(&mut self, values: &[T]) -> Result<(), Failure> {
        match self.format {
            Format::Json => {
                serde_json::to_writer_pretty(&mut self.out, values).map_err(io::Error::from)?;
                self.text("\n")
            }
            Format::Yaml => {
                let text = yaml(&values)?;
                self.text(&text)
            }
            _ => {
                for value in values {
                    serde_json::to_writer(&mut self.out, value).map_err(io::Error::from)?;
                    self.text("\n")?;
                }
                Ok(())
            }
        }
    }

    /// As it is.
    pub fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.out.write_all(bytes)?)
    }

    /// Rows that come one by one; to be ended with [`Stream::end`].
    pub fn stream<T>(&self, columns: &'static [Column<T>], widths: &'static [usize]) -> Stream<T> {
        Stream::new(columns, widths, self.format, self.look)
    }

    pub fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }
}

fn yaml<T: Serialize>(value: &T) -> Result<String, Failure> {
    let text = serde_saphyr::to_string(value).map_err(|error| Failure::failed(error.to_string()))?;
    Ok(if text.ends_with('\n') { text } else { format!("{text}\n") })
}
