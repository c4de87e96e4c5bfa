//! Findings, the gravest first, and how they are printed.

use std::fmt::Write;

/// What a finding means for whoever would take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// This program would not start, or not have what is stored.
    InTheWay,
    /// It would start, and keep it, but not act on it.
    NotActedOn,
    /// Nothing is lost by it.
    ToKnow,
}

/// One of them, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub weight: Weight,
    pub text: String,
}

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What was looked at.
    pub facts: Vec<String>,
    findings: Vec<Finding>,
}

impl Report {
    pub fn in_the_way(&mut self, text: impl Into<String>) {
        self.add(Weight::InTheWay, text.into());
    }

    pub fn not_acted_on(&mut self, text: impl Into<String>) {
        self.add(Weight::NotActedOn, text.into());
    }

    pub fn to_know(&mut self, text: impl Into<String>) {
        self.add(Weight::ToKnow, text.into());
    }

    fn add(&mut self, weight: Weight, text: String) {
        let finding = Finding { weight, text };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Of one weight, in the order in which they were found.
    pub fn of(&self, weight: Weight) -> impl Iterator<Item = &str> {
        self.findings.iter().filter(move |found| found.weight == weight).map(|found| found.text.as_str())
    }

    /// The gravest weight; none where nothing was found.
    pub fn gravest(&self) -> Option<Weight> {
        self.findings.iter().map(|found| found.weight).min()
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for fact in &self.facts {
            // Writing to a string doesn't fail.
            let _ = writeln!(text, "{fact}");
        }
        let headings = [
            (Weight::InTheWay, "In the way: Ottla would not start, or not have what is stored"),
            (Weight::NotActedOn, "Kept, but not acted on"),
            (Weight::ToKnow, "To know"),
        ];
        for (weight, heading) in headings {
            let mut found = self.of(weight).peekable();
            if found.peek().is_some() {
                let _ = writeln!(text, "\n{heading}:");
            }
            for finding in found {
                let _ = writeln!(text, "  - {}", finding.replace('\n', "\n    "));
            }
        }
        let _ = writeln!(
            text,
            "\n{}",
            match self.gravest() {
                Some(Weight::InTheWay) => "This node can't be taken over as it is.",
                Some(Weight::NotActedOn) => "This node can be taken over; see what would not be acted on.",
                Some(Weight::ToKnow) | None => "Nothing is in the way.",
            }
        );
        text
    }
}
