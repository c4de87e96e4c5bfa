//! A report of measurements: a page that stands by itself, or one picture. Pure.

use std::fmt::Write;
use std::path::Path;

use super::measure::Phase;
use crate::expr::show_time;
use crate::output::show_bytes;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Html,
    Svg,
}

impl Form {
    /// By the name of the file.
    pub fn of(path: &Path) -> Result<Form, String> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("html" | "htm") => Ok(Form::Html),
            Some("svg") => Ok(Form::Svg),
            _ => Err(format!("{}: a report is a .html page or a .svg picture", path.display())),
        }
    }
}

#[derive(Debug)]
pub struct Report<'a> {
    pub when_ms: i64,
    pub settings: Vec<(String, String)>,
    pub phases: &'a [Phase],
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 320.0;
const MARGIN: f64 = 56.0;

impl Report<'_> {
    pub fn render(&self, form: Form) -> String {
        match form {
            Form::Svg => self
                .phases
                .iter()
                .find_map(latency_picture)
                .unwrap_or_else(|| picture("no latencies", "", "")),
            Form::Html => self.page(),
        }
    }

    fn page(&self) -> String {
        let mut body = format!("<h1>ottla bench</h1>\n<p>{}</p>\n<table>\n", show_time(self.when_ms));
        for (name, value) in &self.settings {
            body.push_str(&format!("<tr><th>{}</th><td>{}</td></tr>\n", escaped(name), escaped(value)));
        }
        body.push_str("</table>\n<table>\n<tr><th>phase</th><th>records</th><th>records/s</th><th>bytes/s</th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>max</th></tr>\n");
        for phase in self.phases {
            let latency =
                |percentile| phase.latency_ms(percentile).map_or("-".to_owned(), |ms| format!("{ms:.1} ms"));
            let cells = [
                phase.name.to_owned(),
                phase.records.to_string(),
                phase.records_per_second().to_string(),
                show_bytes(phase.bytes_per_second()),
                latency(50.0),
                latency(90.0),
                latency(99.0),
                latency(99.9),
                latency(100.0),
            ];
            let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
            body.push_str(&format!("<tr>{cells}</tr>\n"));
        }
        body.push_str("</table>\n");
        for phase in self.phases {
            body.extend(latency_picture(phase));
            body.push_str(&throughput_picture(phase));
        }
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>ottla bench</title>\n\
             <style>body{{font:15px sans-serif;margin:2em;max-width:60em}}table{{border-collapse:collapse;margin:1em 0}}\
             th,td{{border:1px solid #ccc;padding:.3em .7em;text-align:right}}</style></head>\n<body>\n{body}</body></html>\n"
        )
    }
}

/// Percentiles to the right, each nine as wide as the one before; latencies upward.
fn latency_picture(phase: &Phase) -> Option<String> {
    const NINES: [(f64, &str); 6] =
        [(0.0, "0"), (90.0, "90%"), (99.0, "99%"), (99.9, "99.9%"), (99.99, "99.99%"), (99.999, "99.999%")];
    let top_ms = phase.latency_ms(100.0)?.max(0.001);
    let place = |percentile: f64| -(1.0 - percentile / 100.0).log10() / 5.0;
    let steps = 100;
    let points = (0..=steps).filter_map(|step| {
        let along = f64::from(step) / f64::from(steps);
        let percentile = 100.0 * (1.0 - 10f64.powf(-5.0 * along));
        Some((along, phase.latency_ms(percentile)? / top_ms))
    });
    let curve = curve(points);
    let mut axes = String::new();
    for (percentile, label) in NINES {
        axes.push_str(&tick_below(place(percentile), label));
    }
    for part in [0.0, 0.25, 0.5, 0.75, 1.0] {
        axes.push_str(&tick_left(part, &format!("{:.1} ms", top_ms * part)));
    }
    Some(picture(&format!("{}: latency by percentile", phase.name), &curve, &axes))
}

/// Seconds to the right, records upward.
fn throughput_picture(phase: &Phase) -> String {
    let top = phase.each_second.iter().copied().max().unwrap_or_default().max(1) as f64;
    let count = phase.each_second.len().max(1) as f64;
    let mut bars = String::new();
    for (second, records) in phase.each_second.iter().enumerate() {
        let (left, height) = (second as f64 / count, *records as f64 / top);
        let _ = writeln!(
            bars,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#3b7dd8\"/>",
            x(left),
            y(height),
            ((WIDTH - 2.0 * MARGIN) / count * 0.9).max(0.5),
            y(0.0) - y(height)
        );
    }
    let mut axes = tick_below(0.0, "0 s");
    axes.push_str(&tick_below(1.0, &format!("{count:.0} s")));
    for part in [0.0, 0.5, 1.0] {
        axes.push_str(&tick_left(part, &format!("{:.0}", top * part)));
    }
    picture(&format!("{}: records in each second", phase.name), &bars, &axes)
}

fn x(along: f64) -> f64 {
    MARGIN + along.clamp(0.0, 1.0) * (WIDTH - 2.0 * MARGIN)
}

fn y(up: f64) -> f64 {
    HEIGHT - MARGIN - up.clamp(0.0, 1.0) * (HEIGHT - 2.0 * MARGIN)
}

fn curve(points: impl Iterator<Item = (f64, f64)>) -> String {
    let points: Vec<String> = points.map(|(along, up)| format!("{:.1},{:.1}", x(along), y(up))).collect();
    format!(
        "<polyline fill=\"none\" stroke=\"#3b7dd8\" stroke-width=\"2\" points=\"{}\"/>\n",
        points.join(" ")
    )
}

fn tick_below(along: f64, label: &str) -> String {
    format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
        x(along),
        HEIGHT - MARGIN + 18.0,
        escaped(label)
    )
}

fn tick_left(up: f64, label: &str) -> String {
    format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
        MARGIN - 6.0,
        y(up) + 4.0,
        escaped(label)
    )
}

fn picture(title: &str, inside: &str, axes: &str) -> String {
    let (left, right, bottom, top) = (x(0.0), x(1.0), y(0.0), y(1.0));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{left}\" y=\"24\" font-size=\"14\">{}</text>\n\
         <path d=\"M{left} {top}V{bottom}H{right}\" fill=\"none\" stroke=\"#888\"/>\n{inside}{axes}</svg>\n",
        escaped(title)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hdrhistogram::Histogram;

    use super::*;

    fn phase() -> Phase {
        let mut latency = Histogram::new_with_bounds(1, 1_000_000, 3).unwrap();
        (1..=1000).for_each(|us| latency.saturating_record(us * 10));
        Phase {
            name: "write",
            records: 1000,
            bytes: 100_000,
            took: Duration::from_secs(2),
            latency_us: Some(latency),
            each_second: vec![600, 400],
        }
    }

    #[test]
    fn reports_are_named_by_their_files() {
        assert_eq!(Form::of(Path::new("a/b.html")), Ok(Form::Html));
        assert_eq!(Form::of(Path::new("b.svg")), Ok(Form::Svg));
        assert_eq!(
            Form::of(Path::new("b.pdf")),
            Err("b.pdf: a report is a .html page or a .svg picture".to_owned())
        );
    }

    #[test]
    fn a_page_has_the_numbers_and_the_pictures() {
        let phases = [phase()];
        let report = Report {
            when_ms: 0,
            settings: vec![("brokers".to_owned(), "<a:1>".to_owned())],
            phases: &phases,
        };
        let page = report.render(Form::Html);
        for expected in [
            "<td>&lt;a:1&gt;</td>",
            "<td>write</td><td>1000</td><td>500</td><td>48.8 KiB</td><td>5.0 ms</td><td>9.0 ms</td><td>9.9 ms</td>",
            "write: latency by percentile",
            "write: records in each second",
            "99.99%",
        ] {
            assert!(page.contains(expected), "{expected}: {page}");
        }
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        let picture = report.render(Form::Svg);
        assert!(picture.starts_with("<svg") && picture.contains("<polyline"));
        // The curve ends at the top: the slowest record.
        let points = picture.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        let last = points.rsplit(' ').next().unwrap();
        assert_eq!(last, format!("{:.1},{:.1}", x(1.0), y(1.0)));
    }

    #[test]
    fn nothing_measured_is_no_mistake() {
        let phases = [Phase { latency_us: None, each_second: Vec::new(), ..phase() }];
        let report = Report { when_ms: 0, settings: Vec::new(), phases: &phases };
        assert!(report.render(Form::Svg).contains("no latencies"));
        assert!(report.render(Form::Html).contains("<td>-</td>"));
    }
}
