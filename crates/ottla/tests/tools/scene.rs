//! What a line needs around its tool: what stands on standard input, what is waited for, and what goes wrong.
//!
//! It is written in brackets in front of the line, such as `[stdin=lines; pause=Produce*1 without; end=Fetch*3]`.

/// Each of it is the same with the flag and without it, but for what is waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scene {
    /// A file.
    pub stdin: Option<String>,
    /// Behind the first line of standard input.
    pub pause: Option<Event>,
    /// The tool is asked to end then.
    pub end: Option<Event>,
    /// The code of what every batch is refused with.
    pub refusal: i16,
    /// Requests of this kind are never answered.
    pub mute: Option<String>,
    /// Requests of this kind reach the node, although they change something.
    pub passes: Option<String>,
}

/// So many requests of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub api: String,
    pub count: usize,
    comes: Comes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comes {
    Always,
    WithFlag,
    WithoutFlag,
}

impl Event {
    fn parse(text: &str) -> Event {
        let (what, comes) = match text.split_once(' ') {
            None => (text, Comes::Always),
            Some((what, "with")) => (what, Comes::WithFlag),
            Some((what, "without")) => (what, Comes::WithoutFlag),
            Some((_, other)) => panic!("{other} says not when it comes"),
        };
        let (api, count) = what.split_once('*').unwrap();
        Event { api: api.to_owned(), count: count.parse().unwrap(), comes }
    }

    /// Whether it is waited for until it comes. Else it is looked for, for a while.
    pub fn must_come(&self, has_flag: bool) -> bool {
        match self.comes {
            Comes::Always => true,
            Comes::WithFlag => has_flag,
            Comes::WithoutFlag => !has_flag,
        }
    }
}

impl Scene {
    /// That of a line, and the rest of the line.
    pub fn parse(line: &str) -> (Scene, &str) {
        let Some((text, rest)) = line.strip_prefix('[').and_then(|text| text.split_once("] ")) else {
            return (Scene::default(), line);
        };
        let mut scene = Scene::default();
        for part in text.split("; ") {
            let (key, value) = part.split_once('=').unwrap();
            let owned = Some(value.to_owned());
            match key {
                "stdin" => scene.stdin = owned,
                "pause" => scene.pause = Some(Event::parse(value)),
                "end" => scene.end = Some(Event::parse(value)),
                "refusal" => scene.refusal = value.parse().unwrap(),
                "mute" => scene.mute = owned,
                "passes" => scene.passes = owned,
                other => panic!("{other} says nothing"),
            }
        }
        (scene, rest)
    }
}
