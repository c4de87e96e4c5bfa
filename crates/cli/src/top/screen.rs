//! What stands on the screen, and what keys do. Pure: it is drawn on any terminal.

use ratatui::Frame;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Sparkline, Table, Tabs};

use super::Shown;
use super::model::{GROUPS, PARTITIONS, TOPICS, View};
use crate::output::{Listing, Tone, show_bytes};

/// What is shown, and of what.
#[derive(Debug, Default)]
pub struct Screen {
    shown: Shown,
    view: Option<View>,
    /// What went wrong with the last measurement.
    pub trouble: Option<String>,
    /// Records a second of the whole cluster, the newest last.
    history: Vec<u64>,
    first_row: usize,
    is_paused: bool,
    is_coloured: bool,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Nothing,
    Quit,
}

const HISTORY_MAX: usize = 500;
const PAGE: usize = 10;

impl Screen {
    pub fn new(shown: Shown, is_coloured: bool) -> Screen {
        Screen { shown, is_coloured, ..Screen::default() }
    }

    pub fn take(&mut self, view: View) {
        self.trouble = None;
        if self.is_paused {
            return;
        }
        let total: f64 = view.topics.iter().map(|topic| topic.records_per_second).sum();
        self.history.push(total as u64);
        if self.history.len() > HISTORY_MAX {
            self.history.remove(0);
        }
        self.view = Some(view);
        self.first_row = self.first_row.min(self.rows().saturating_sub(1));
    }

    fn listing(&self) -> Listing {
        match (&self.view, self.shown) {
            (None, _) => Listing::default(),
            (Some(view), Shown::Topics) => Listing::of(TOPICS, &view.topics),
            (Some(view), Shown::Partitions) => Listing::of(PARTITIONS, &view.partitions),
            (Some(view), Shown::Groups) => Listing::of(GROUPS, &view.groups),
        }
    }

    fn rows(&self) -> usize {
        self.view.as_ref().map_or(0, |view| match self.shown {
            Shown::Topics => view.topics.len(),
            Shown::Partitions => view.partitions.len(),
            Shown::Groups => view.groups.len(),
        })
    }

    pub fn key(&mut self, key: KeyEvent) -> Asked {
        let last = self.rows().saturating_sub(1);
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Asked::Quit,
            KeyCode::Char('q') | KeyCode::Esc => return Asked::Quit,
            KeyCode::Char('1' | 't') => self.show(Shown::Topics),
            KeyCode::Char('2' | 'p') => self.show(Shown::Partitions),
            KeyCode::Char('3' | 'g') => self.show(Shown::Groups),
            KeyCode::Tab | KeyCode::Right => self.show(self.shown.next()),
            KeyCode::BackTab | KeyCode::Left => self.show(self.shown.next().next()),
            KeyCode::Char(' ') => self.is_paused = !self.is_paused,
            KeyCode::Down | KeyCode::Char('j') => self.first_row = (self.first_row + 1).min(last),
            KeyCode::Up | KeyCode::Char('k') => self.first_row = self.first_row.saturating_sub(1),
            KeyCode::PageDown => self.first_row = (self.first_row + PAGE).min(last),
            KeyCode::PageUp => self.first_row = self.first_row.saturating_sub(PAGE),
            KeyCode::Home => self.first_row = 0,
            KeyCode::End => self.first_row = last,
            _ => {}
        }
        Asked::Nothing
    }

    fn show(&mut self, shown: Shown) {
        self.shown = shown;
        self.first_row = 0;
    }

    pub fn draw(&self, frame: &mut Frame<'_>) {
        let [head, graph, tabs, table, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(3),
            Constraint::Length(1),
            Constraint::Min(1),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(Paragraph::new(self.head()), head);
        let width = usize::from(graph.width);
        let newest = self.history.len().saturating_sub(width);
        let newest = self.history.get(newest..).unwrap_or_default();
        frame.render_widget(Sparkline::default().data(newest).style(self.style(Some(Color::Cyan))), graph);
        let titles = Shown::ALL.map(|(shown, title)| match shown == self.shown {
            true => format!("[{title}]"),
            false => format!(" {title} "),
        });
        let selected = Shown::ALL.iter().position(|(shown, _)| *shown == self.shown);
        frame.render_widget(Tabs::new(titles).select(selected).divider(""), tabs);
        frame.render_widget(self.table(), table);
        let keys = "q quit   Tab next   t topics   p partitions   g groups   Space pause   arrows scroll";
        frame.render_widget(Paragraph::new(keys).style(Style::new().add_modifier(Modifier::DIM)), foot);
    }

    fn style(&self, colour: Option<Color>) -> Style {
        match colour.filter(|_| self.is_coloured) {
            Some(colour) => Style::new().fg(colour),
            None => Style::new(),
        }
    }

    fn head(&self) -> Line<'static> {
        if let Some(trouble) = &self.trouble {
            return Line::from(Span::styled(trouble.clone(), self.style(Some(Color::Red))));
        }
        let Some(view) = &self.view else { return Line::from("Measuring…") };
        let records: f64 = view.topics.iter().map(|topic| topic.records_per_second).sum();
        let bytes: f64 = view.topics.iter().map(|topic| topic.bytes_per_second).sum();
        let mut parts = vec![Span::from(format!(
            "cluster {}   {} brokers   {} partitions   {records:.1} records/s   {}/s",
            view.cluster_id,
            view.brokers,
            view.partitions_count,
            show_bytes(bytes as i64)
        ))];
        for (count, what, colour) in [
            (view.offline, "offline", Color::Red),
            (view.under_replicated, "under-replicated", Color::Yellow),
        ] {
            if count > 0 {
                parts.push(Span::styled(format!("   {count} {what}"), self.style(Some(colour))));
            }
        }
        if self.is_paused {
            parts.push(Span::styled("   paused", self.style(Some(Color::Yellow))));
        }
        Line::from(parts)
    }

    fn table(&self) -> Table<'static> {
        let listing = self.listing();
        let heads: Vec<String> =
            listing.heads.iter().map(|head| head.name.replace('_', "-").to_uppercase()).collect();
        let mut widths: Vec<usize> = heads.iter().map(String::len).collect();
        let mut rows = Vec::new();
        for row in listing.rows.iter().skip(self.first_row) {
            let texts: Vec<String> = row.iter().map(crate::output::Cell::shown).collect();
            widths
                .iter_mut()
                .zip(&texts)
                .for_each(|(width, text)| *width = (*width).max(text.chars().count()));
            let spans = texts.into_iter().zip(row).map(|(text, cell)| {
                let colour = cell.tone().map(|tone| match tone {
                    Tone::Good => Color::Green,
                    Tone::Warning => Color::Yellow,
                    Tone::Bad => Color::Red,
                });
                let line = Line::from(Span::styled(text, self.style(colour)));
                if cell.is_numeric() { line.right_aligned() } else { line }
            });
            rows.push(Row::new(spans.collect::<Vec<_>>()));
        }
        let widths =
            widths.into_iter().map(|width| Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX)));
        let head = Row::new(heads).style(Style::new().add_modifier(Modifier::BOLD));
        Table::new(rows, widths.collect::<Vec<_>>()).header(head).column_spacing(2)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::top::model::{tests::sample, view};

    fn drawn(screen: &Screen) -> String {
        let mut terminal = Terminal::new(TestBackend::new(90, 10)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y| {
            (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned()
        };
        (0..buffer.area.height).map(|y| line(y) + "\n").collect()
    }

    fn press(screen: &mut Screen, code: KeyCode) -> Asked {
        screen.key(KeyEvent::from(code))
    }

    fn measured() -> Screen {
        let mut screen = Screen::default();
        screen.take(view(&sample(0, [100, 100], [0, 100]), &sample(2000, [700, 300], [600, 300])));
        screen
    }

    #[test]
    fn topics_groups_and_partitions_are_drawn() {
        let mut screen = measured();
        expect![[r#"
            cluster c   1 brokers   2 partitions   400.0 records/s   39.1 KiB/s
            █
            █
            █
             [Topics]   Hot partitions    Groups
            TOPIC   PARTITIONS  RECORDS-PER-SECOND  BYTES-PER-SECOND  RECORDS  SIZE
            orders           2               400.0          39.1 KiB     1000  97.7 KiB


            q quit   Tab next   t topics   p partitions   g groups   Space pause   arrows scroll
        "#]]
        .assert_eq(&drawn(&screen));
        press(&mut screen, KeyCode::Char('p'));
        expect![[r#"
            cluster c   1 brokers   2 partitions   400.0 records/s   39.1 KiB/s
            █
            █
            █
              Topics   [Hot partitions]   Groups
            TOPIC   PARTITION  LEADER  RECORDS-PER-SECOND  BYTES-PER-SECOND  HEAT
            orders          0       1               300.0          29.3 KiB   1.5
            orders          1       1               100.0           9.8 KiB   0.5

            q quit   Tab next   t topics   p partitions   g groups   Space pause   arrows scroll
        "#]]
        .assert_eq(&drawn(&screen));
        press(&mut screen, KeyCode::Tab);
        expect![[r#"
            cluster c   1 brokers   2 partitions   400.0 records/s   39.1 KiB/s
            █
            █
            █
              Topics    Hot partitions   [Groups]
            GROUP    TOPICS  LAG  READ-PER-SECOND  CAUGHT-UP-IN
            billing       1  100            400.0  -


            q quit   Tab next   t topics   p partitions   g groups   Space pause   arrows scroll
        "#]]
        .assert_eq(&drawn(&screen));
    }

    #[test]
    fn keys_have_their_effect() {
        let mut screen = measured();
        assert_eq!(press(&mut screen, KeyCode::Char('q')), Asked::Quit);
        assert_eq!(press(&mut screen, KeyCode::Esc), Asked::Quit);
        assert_eq!(screen.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Asked::Quit);
        press(&mut screen, KeyCode::Char('2'));
        assert_eq!(screen.shown, Shown::Partitions);
        press(&mut screen, KeyCode::Down);
        press(&mut screen, KeyCode::PageDown);
        assert_eq!(screen.first_row, 1);
        assert!(!drawn(&screen).contains("orders          0"));
        press(&mut screen, KeyCode::Home);
        assert_eq!(screen.first_row, 0);
        press(&mut screen, KeyCode::Left);
        assert_eq!(screen.shown, Shown::Topics);
        press(&mut screen, KeyCode::Char(' '));
        let before = screen.view.clone();
        screen.take(View::default());
        assert_eq!(screen.view, before);
        assert!(drawn(&screen).contains("paused"));
        press(&mut screen, KeyCode::Char(' '));
        screen.take(View::default());
        assert_eq!(screen.view, Some(View::default()));
    }

    #[test]
    fn trouble_is_told_and_passes() {
        let mut screen = measured();
        screen.trouble = Some("no answer".to_owned());
        assert!(drawn(&screen).starts_with("no answer\n"));
        screen.take(View::default());
        assert!(drawn(&screen).starts_with("cluster "));
    }
}
