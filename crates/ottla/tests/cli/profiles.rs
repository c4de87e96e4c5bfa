//! `ottla profile`, and which word about the cluster counts

use std::fs;

use crate::{Terminal, field, run};

#[test]
fn profiles_lead_to_clusters() {
    let terminal = Terminal::open();
    let servers = terminal.node.bootstrap().to_owned();
    let home = terminal.dir.path();
    let of = |line: &str, variables: &[(&str, &str)]| run(home, line, "", variables);
    fs::write(home.join("client.properties"), format!("bootstrap.servers={servers}\nacks=1\n")).unwrap();
    assert_eq!(of("profile add here --from client.properties", &[]).code, 0);
    assert_eq!(of("profile add locked -X ssl.keystore.password=secret", &[]).code, 0);
    assert_eq!(field(&of("profile show locked -o jsonl", &[]).out, "value"), ["(hidden)"]);
    assert_eq!(of("profile remove locked", &[]).code, 0);
    assert_eq!(of("profile add nowhere -b 127.0.0.1:9 -X client.id=me", &[]).code, 0);
    let listed = of("profile list -o jsonl", &[]).out;
    assert_eq!(field(&listed, "profile"), ["here", "nowhere"]);
    assert_eq!(field(&listed, "default"), ["false", "false"]);
    let shown = of("profile show here -o jsonl", &[]).out;
    assert_eq!(field(&shown, "setting"), ["acks", "bootstrap.servers"]);
    assert_eq!(field(&shown, "value"), ["1", &servers]);

    let elsewhere = ("OTTLA_BOOTSTRAP_SERVER", "127.0.0.1:9");
    let reaches = |line: &str, variables: &[(&str, &str)]| {
        of(&format!("topic create x --if-not-exists --timeout 2s {line}"), variables).code
    };
    assert_eq!(reaches("-P here", &[]), 0);
    assert_eq!(reaches("-P here", &[elsewhere]), 0);
    assert_eq!(reaches("", &[("OTTLA_PROFILE", "here")]), 0);
    assert_eq!(reaches("-P nowhere", &[("OTTLA_BOOTSTRAP_SERVER", &servers)]), 3);
    assert_eq!(reaches(&format!("-P nowhere -b {servers}"), &[]), 0);
    assert_eq!(reaches(&format!("-P nowhere -X bootstrap.servers={servers}"), &[]), 0);
    assert_eq!(of("profile use here", &[]).code, 0);
    assert_eq!(reaches("", &[]), 0);
    assert_eq!(field(&of("profile list -o jsonl", &[]).out, "default"), ["true", "false"]);
    assert_eq!(of("profile remove here", &[]).code, 0);
    let gone = of("topic list -P here", &[]);
    assert_eq!((gone.code, gone.err.lines().next()), (4, Some("error: there is no profile 'here'")));
    assert_eq!(of("profile add empty", &[]).code, 2);
    assert_eq!(of("profile show nowher", &[]).err.lines().nth(1), Some("  hint: did you mean 'nowhere'?"));
}
