//! Running tools in tests.

use crate::tool::{Output, Toolbox};

/// Exit code, standard output and standard error, as one text.
pub fn run(line: &str) -> String {
    let mut words = line.split(' ').map(str::to_owned);
    let toolbox = Toolbox::with(&[]);
    let tool = toolbox.find(&words.next().unwrap_or_default()).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args: Vec<String> = words.filter(|word| !word.is_empty()).collect();
    let code = tool.main(&args, &mut Output { out: &mut out, err: &mut err });
    let text = |bytes: Vec<u8>| {
        String::from_utf8(bytes)
            .unwrap()
            .lines()
            .map(|line| line.trim_end().to_owned() + "\n")
            .collect::<String>()
    };
    let (out, err) = (text(out), text(err));
    let parts = [("", out), ("-- stderr\n", err)];
    let shown: String = parts
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(head, text)| head.to_owned() + &text)
        .collect();
    format!("{shown}-- exit {code}\n")
}
