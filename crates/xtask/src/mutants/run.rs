//! The full run: each variant built and tested.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Mutant, TestName, copy, read_all};
use crate::ChoreError;

/// A test that ends no sooner is not taken to have caught anything: it could as well be the machine.
const TEST_SECONDS_MAX: u64 = 600;

/// Runs all variants, or those that are named. One finding a variant that survives, or does not build.
///
/// The copy lies in the target directory and shares what is built of other people's packages; nothing else of the tree
/// is touched.
#[allow(clippy::print_stdout)] // it takes minutes, and says how far it is
pub fn run(root: &Path, names: &[String]) -> Result<Vec<String>, ChoreError> {
    let (mut mutants, mut findings) = read_all(root)?;
    for name in names {
        if !mutants.iter().any(|mutant| mutant.name == *name) {
            findings.push(format!("there is no variant {name}"));
        }
    }
    if !names.is_empty() {
        mutants.retain(|mutant| names.contains(&mutant.name));
    }
    // Those of one file and one test binary after another: little is built again between them.
    let mut trials: Vec<Trial<'_>> =
        mutants.iter().flat_map(|mutant| mutant.tests.iter().map(move |test| (mutant, test))).collect();
    trials.sort_by_key(|(mutant, test)| (&test.package, &test.target, &mutant.file));
    let tree = Tree::new(root)?;
    for trials in trials.chunk_by(|(_, a), (_, b)| same_binary(a, b)) {
        let Some((_, first)) = trials.first() else { continue };
        let healthy = tree.build(first)?.map_err(|stderr| ChoreError::Command {
            command: format!("building the tests of {}", first.package),
            stderr,
        })?;
        // All before the first variant is built: it takes the place of this binary.
        let mut without_change = BTreeMap::new();
        for (_, test) in trials {
            if !without_change.contains_key(test) {
                without_change.insert(*test, healthy.run(test)?);
            }
        }
        for (mutant, test) in trials {
            let start = Instant::now();
            let found = match without_change.get(test) {
                Some(Outcome::Passed) => tree.try_mutant(mutant, test)?,
                other => Err(format!("{test} does not pass without the change: {other:?}")),
            };
            match found {
                Ok(()) => println!("caught in {:>3} s: {} by {test}", start.elapsed().as_secs(), mutant.name),
                Err(why) => {
                    println!("SURVIVES: {}: {why}", mutant.name);
                    findings.push(format!("{}: {why}", mutant.name));
                }
            }
        }
    }
    Ok(findings)
}

/// A variant, and one of the tests that must catch it.
type Trial<'a> = (&'a Mutant, &'a TestName);

fn same_binary(a: &TestName, b: &TestName) -> bool {
    (&a.package, &a.target) == (&b.package, &b.target)
}

struct Tree<'a> {
    root: &'a Path,
    copy: PathBuf,
    target: PathBuf,
}

impl<'a> Tree<'a> {
    fn new(root: &'a Path) -> Result<Tree<'a>, ChoreError> {
        let target = root.join("target");
        let copy = target.join("mutants");
        copy::sync(root, &copy).map_err(|source| ChoreError::Io {
            what: format!("copying the tree to {}", copy.display()),
            source,
        })?;
        Ok(Tree { root, copy, target })
    }

    /// Why the variant is not caught.
    fn try_mutant(&self, mutant: &Mutant, test: &TestName) -> Result<Result<(), String>, ChoreError> {
        let changed = match mutant.apply(self.root) {
            Ok(changed) => changed,
            Err(reason) => return Ok(Err(reason)),
        };
        self.write(&mutant.file, changed.as_bytes())?;
        let built = self.build(test);
        let outcome = match built {
            Ok(Ok(binary)) => binary.run(test).map(|outcome| match outcome {
                Outcome::Failed => Ok(()),
                Outcome::Passed => Err(format!("{test} passes")),
                Outcome::NotFound => Err(format!("there is no test {test}")),
                Outcome::Endless => Err(format!("{test} does not end")),
            }),
            Ok(Err(stderr)) => Ok(Err(format!("it does not build: {stderr}"))),
            Err(error) => Err(error),
        };
        let original =
            fs::read(self.root.join(&mutant.file)).map_err(|source| failed(&mutant.file, source))?;
        self.write(&mutant.file, &original)?;
        outcome
    }

    fn write(&self, file: &str, content: &[u8]) -> Result<(), ChoreError> {
        copy::write_if_different(&self.copy.join(file), content).map_err(|source| failed(file, source))
    }

    /// The test binary; or what the compiler says.
    fn build(&self, test: &TestName) -> Result<Result<Binary, String>, ChoreError> {
        let mut command = Command::new("cargo");
        command.args(["test", "--no-run", "--quiet", "--message-format=json-render-diagnostics"]);
        command.args(["--package", &test.package]);
        match &test.target {
            Some(target) => command.args(["--test", target]),
            None => command.arg("--lib"),
        };
        let built = command
            .current_dir(&self.copy)
            .env("CARGO_TARGET_DIR", &self.target)
            // Most of the time would go into symbols that nobody looks at.
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .stdin(Stdio::null())
            .output()
            .map_err(|source| failed("starting cargo", source))?;
        if !built.status.success() {
            return Ok(Err(String::from_utf8_lossy(&built.stderr).into_owned()));
        }
        let executable =
            String::from_utf8_lossy(&built.stdout).lines().filter_map(test_executable).next_back();
        match executable {
            Some((path, directory)) => Ok(Ok(Binary { path, directory })),
            None => Err(ChoreError::Metadata(format!("no test binary of {}", test.package))),
        }
    }
}

fn failed(what: &str, source: io::Error) -> ChoreError {
    ChoreError::Io { what: what.to_owned(), source }
}

/// Of a line that announces a test binary: its path, and the package's directory, in which it is run.
fn test_executable(line: &str) -> Option<(PathBuf, PathBuf)> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    if message.get("profile")?.get("test")? != true {
        return None;
    }
    let manifest = Path::new(message.get("manifest_path")?.as_str()?);
    Some((message.get("executable")?.as_str()?.into(), manifest.parent()?.to_owned()))
}

struct Binary {
    path: PathBuf,
    directory: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    NotFound,
    Endless,
}

impl Binary {
    fn run(&self, test: &TestName) -> Result<Outcome, ChoreError> {
        let mut child = Command::new(&self.path)
            .args(["--exact", &test.path])
            .envs(test.with.clone())
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|source| failed("starting a test", source))?;
        // Read beside it, so that a talkative test does not wait for us.
        let stdout = child.stdout.take();
        let reader = std::thread::spawn(move || {
            let mut text = Vec::new();
            stdout.map(|mut stdout| stdout.read_to_end(&mut text));
            String::from_utf8_lossy(&text).into_owned()
        });
        let deadline = Instant::now() + Duration::from_secs(TEST_SECONDS_MAX);
        let status = loop {
            if let Some(status) = child.try_wait().map_err(|source| failed("waiting for a test", source))? {
                break Some(status);
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let said = reader.join().unwrap_or_default();
        Ok(match status {
            None => Outcome::Endless,
            Some(_) if !said.contains("running 1 test") => Outcome::NotFound,
            Some(status) if status.success() => Outcome::Passed,
            Some(_) => Outcome::Failed,
        })
    }
}
