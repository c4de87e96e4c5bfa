//! `ottla top` in front of a terminal: keys are pressed, and what is to be seen is looked at.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::Terminal;

const ROWS: u16 = 30;
const COLUMNS: u16 = 120;
const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal's other side: who types, and who sees.
struct Screen {
    keys: File,
    printed: Receiver<Vec<u8>>,
    seen: vt100::Parser,
    child: Child,
}

impl Screen {
    fn of(terminal: &Terminal, words: &[&str]) -> Screen {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        tcsetwinsize(&ours, Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs =
            OpenOptions::new().read(true).write(true).open(OsStr::from_bytes(name.as_bytes())).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_ottla"))
            .args(words)
            .env_clear()
            .env("TERM", "xterm-256color")
            .env("HOME", terminal.dir.path())
            .env("OTTLA_BOOTSTRAP_SERVER", terminal.node.bootstrap())
            .stdin(theirs.try_clone().unwrap())
            .stdout(theirs.try_clone().unwrap())
            .stderr(theirs)
            .spawn()
            .unwrap();
        let keys = File::from(ours);
        let mut output = keys.try_clone().unwrap();
        let (told, printed) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // It fails when the last one has closed the other side.
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                if told.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Screen { keys, printed, seen: vt100::Parser::new(ROWS, COLUMNS, 0), child }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Until all of this is to be seen.
    #[track_caller]
    fn shows(&mut self, texts: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        while !texts.iter().all(|text| self.seen.screen().contents().contains(text)) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.printed.recv_timeout(left) {
                Ok(bytes) => self.seen.process(&bytes),
                Err(why) => panic!("no {texts:?} ({why}) in\n{}", self.seen.screen().contents()),
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn top_is_a_screen_with_keys() {
    let terminal = Terminal::open();
    terminal.well("topic create orders -p 2");
    terminal.type_in("produce orders -p 1", "a\nb\n");
    terminal.well("consume orders -g billing -n 1");
    let mut screen = Screen::of(&terminal, &["top", "-i", "50ms"]);
    screen.shows(&["[Topics]", "RECORDS-PER-SECOND", "orders", "q quit"]);
    assert!(screen.seen.screen().alternate_screen());
    screen.press("p");
    screen.shows(&["[Hot partitions]", "HEAT"]);
    screen.press("g");
    screen.shows(&["[Groups]", "billing"]);
    screen.press(" ");
    screen.shows(&["paused"]);
    screen.press("\t ");
    screen.shows(&["[Topics]", "1 brokers"]);
    screen.press("q");
    assert!(screen.child.wait().unwrap().success());
    // What stood there before is there again.
    while let Ok(bytes) = screen.printed.recv_timeout(PATIENCE) {
        screen.seen.process(&bytes);
    }
    assert!(!screen.seen.screen().alternate_screen() && !screen.seen.screen().hide_cursor());
}

#[test]
fn top_says_what_is_wrong_and_goes_on() {
    let Terminal { node, dir } = Terminal::open();
    let port_of_before = node.bootstrap().to_owned();
    let terminal = Terminal { node, dir };
    let mut screen = Screen::of(&terminal, &["top", "-i", "50ms", "--timeout", "500ms"]);
    screen.shows(&["[Topics]", "1 brokers"]);
    let Terminal { node, .. } = terminal;
    node.kill();
    screen.shows(&[&port_of_before]);
    screen.press("q");
    assert!(screen.child.wait().unwrap().success());
}
