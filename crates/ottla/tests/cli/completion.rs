//! Completion by shells: the scripts that they read, and names that the cluster has.

use crate::Terminal;

#[test]
fn shells_complete_what_there_is() {
    let terminal = Terminal::open();
    terminal.well("topic create orders payments");
    terminal.well("consume orders -g billing");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = terminal.well(&format!("completion {shell}"));
        assert!(script.contains("OTTLA_COMPLETE"), "{shell}: {script}");
    }
    // As the script for bash asks: the words after `--`, and which of them is being typed.
    let complete = |words: &str, variables: &[(&str, &str)]| {
        let index = (words.split_whitespace().count() - 1).to_string();
        let asked = [("OTTLA_COMPLETE", "bash"), ("_CLAP_IFS", "\n"), ("_CLAP_COMPLETE_INDEX", &index)];
        let variables: Vec<_> = asked.into_iter().chain(variables.iter().copied()).collect();
        let said = terminal.run_with(&format!("-- {words}"), "", &variables);
        assert_eq!(said.code, 0, "{words}: {said:?}");
        said.out.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(complete("ottla topic describe or", &[]), ["orders"]);
    assert_eq!(complete("ottla group lag b", &[]), ["billing"]);
    assert_eq!(complete("ottla consume pay", &[]), ["payments"]);
    assert!(complete("ottla topic desc", &[]).contains(&"describe".to_owned()));
    assert_eq!(complete("ottla errors NOT_ENOUGH_REPLICAS_", &[]), ["NOT_ENOUGH_REPLICAS_AFTER_APPEND"]);
    // Flags on the line say which cluster is asked; one that isn't there gives no names, and no errors.
    let nowhere = [("OTTLA_BOOTSTRAP_SERVER", "127.0.0.1:9")];
    assert_eq!(complete("ottla topic describe or", &nowhere), Vec::<String>::new());
    let there = format!("ottla topic describe -b {} or", terminal.node.bootstrap());
    assert_eq!(complete(&there, &nowhere), ["orders"]);
}
