//! Rows that come one by one, each printed as it comes.

use super::cell::Cell;
use super::listing::{Column, Head, Object, heads};
use super::table::{self, Look};
use super::{Format, yaml};
use crate::error::Failure;

/// Makes texts of rows; what they amount to is one document, as with [`super::Printer::listing`].
#[derive(Debug)]
pub struct Stream<T: 'static> {
    columns: &'static [Column<T>],
    heads: Vec<Head>,
    /// Of the columns, for people; what is wider moves what follows.
    widths: &'static [usize],
    format: Format,
    look: Look,
    count: u64,
}

impl<T> Stream<T> {
    pub(super) fn new(
        columns: &'static [Column<T>],
        widths: &'static [usize],
        format: Format,
        look: Look,
    ) -> Stream<T> {
        Stream { columns, heads: heads(columns), widths, format, look, count: 0 }
    }

    /// What comes before the first row.
    pub fn begin(&self) -> String {
        match self.format {
            Format::Table | Format::Wide if self.look.has_heads => {
                let texts: Vec<String> = self.shown().map(|(head, _)| table::head(head)).collect();
                self.line(&texts, true)
            }
            Format::Json => "[".to_owned(),
            _ => String::new(),
        }
    }

    pub fn row(&mut self, of: &T) -> Result<String, Failure> {
        let cells: Vec<Cell> = self.columns.iter().map(|column| (column.cell)(of)).collect();
        self.count += 1;
        let object = Object { heads: &self.heads, row: &cells };
        let json = |object: &Object<'_>| {
            serde_json::to_string(object).map_err(|error| Failure::failed(error.to_string()))
        };
        Ok(match self.format {
            Format::Table | Format::Wide => {
                let texts: Vec<String> = self
                    .heads
                    .iter()
                    .zip(&cells)
                    .filter(|(head, _)| self.is_shown(head))
                    .map(|(_, cell)| cell.shown())
                    .collect();
                self.line(&texts, false)
            }
            Format::Json => {
                format!("{}\n  {}", if self.count > 1 { "," } else { "" }, json(&object)?)
            }
            Format::Jsonl => format!("{}\n", json(&object)?),
            Format::Yaml => yaml(&[object])?,
        })
    }

    /// What comes after the last row.
    pub fn end(&self) -> String {
        match (self.format, self.count) {
            (Format::Json, 0) => "]\n".to_owned(),
            (Format::Json, _) => "\n]\n".to_owned(),
            (Format::Yaml, 0) => "[]\n".to_owned(),
            _ => String::new(),
        }
    }

    fn is_shown(&self, head: &Head) -> bool {
        self.look.is_wide || !head.is_wide
    }

    fn shown(&self) -> impl Iterator<Item = (&Head, usize)> {
        let widths = self.widths.iter().copied().chain(std::iter::repeat(0));
        self.heads.iter().zip(widths).filter(|(head, _)| self.is_shown(head))
    }

    fn line(&self, texts: &[String], is_head: bool) -> String {
        let widths: Vec<usize> = self.shown().map(|(_, width)| width).collect();
        table::line_of(texts, &widths, &[], is_head, self.look)
    }
}
