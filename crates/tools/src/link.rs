//! Links by the tools' names, so that the executable answers to them.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::tool::Toolbox;

/// Makes links to `executable` in `dir`, by the name of each tool with and without `.sh`; returns how many there are now. A link
/// to something of the same file name is replaced, anything else is left alone and is an error.
pub fn link(toolbox: &Toolbox, executable: &Path, dir: &Path) -> Result<usize, String> {
    let failed = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
    let mut count = 0;
    for tool in toolbox.tools() {
        for name in [tool.name.to_owned(), format!("{}.sh", tool.name)] {
            let path = dir.join(name);
            if is_ours(&path, executable) {
                fs::remove_file(&path).map_err(|error| failed(&path, error))?;
            }
            symlink(executable, &path).map_err(|error| failed(&path, error))?;
            count += 1;
        }
    }
    Ok(count)
}

fn is_ours(path: &Path, executable: &Path) -> bool {
    fs::read_link(path).is_ok_and(|target| target.file_name() == executable.file_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_renewed_and_nothing_else_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        let toolbox = Toolbox::with(&[]);
        let count = link(&toolbox, Path::new("/old/ottla"), &bin).unwrap();
        assert_eq!(count, 2 * toolbox.tools().len());
        assert_eq!(link(&toolbox, Path::new("/new/ottla"), &bin), Ok(count));
        assert_eq!(fs::read_link(bin.join("kafka-dump-log.sh")).unwrap(), Path::new("/new/ottla"));

        fs::remove_file(bin.join("kafka-dump-log")).unwrap();
        fs::write(bin.join("kafka-dump-log"), "somebody else's").unwrap();
        assert!(link(&toolbox, Path::new("/new/ottla"), &bin).unwrap_err().contains("kafka-dump-log: "));
        assert_eq!(fs::read(bin.join("kafka-dump-log")).unwrap(), b"somebody else's");
    }
}
