//! What a folder lies on, as the kernel tells it.

use std::fs;
use std::path::Path;
use std::thread;

use serde::Serialize;

use crate::Result;

/// What a run was measured on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Medium {
    /// The file system, such as `ext4`.
    pub file_system: String,
    /// The device that it is on.
    pub device: String,
    /// The options that it is mounted with.
    pub options: String,
    /// Whether it is only memory, so that no sync costs anything.
    pub memory: bool,
    /// How many processors there are.
    pub processors: usize,
    /// The kernel's release.
    pub kernel: String,
}

impl Medium {
    /// Looks at the folder's file system.
    ///
    /// # Errors
    /// If the folder is not there, or the kernel does not tell.
    pub fn of(folder: &Path) -> Result<Self> {
        let folder = folder.canonicalize()?;
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let (device, file_system, options) =
            find(&mounts, &folder).ok_or("the folder is on no file system of /proc/self/mounts")?;
        Ok(Self {
            memory: matches!(file_system.as_str(), "tmpfs" | "ramfs"),
            file_system,
            device,
            options,
            processors: thread::available_parallelism()?.get(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        })
    }

    /// All in one line.
    pub fn line(&self) -> String {
        let warning = if self.memory { "; ONLY MEMORY: no sync costs anything here" } else { "" };
        format!(
            "{} on {} ({}), {} processors, Linux {}{warning}",
            self.file_system, self.device, self.options, self.processors, self.kernel
        )
    }
}

/// Device, file system and options of the innermost mount that holds the folder.
fn find(mounts: &str, folder: &Path) -> Option<(String, String, String)> {
    let mut innermost = None;
    for line in mounts.lines() {
        let mut fields = line.split(' ');
        let (Some(device), Some(at), Some(system), Some(options)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let at = at.replace("\\040", " ");
        let depth = Path::new(&at).components().count();
        let deeper = innermost.as_ref().is_none_or(|(known, _)| depth >= *known);
        if folder.starts_with(&at) && deeper {
            let found = (device.to_owned(), system.to_owned(), options.to_owned());
            innermost = Some((depth, found));
        }
    }
    innermost.map(|(_, found)| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_counts() {
        let mounts = "\
/dev/vda / ext4 rw,relatime 0 0
tmpfs /tmp tmpfs rw 0 0
/dev/vdb /srv/a\\040b xfs rw,noatime 0 0
";
        let on = |folder: &str| find(mounts, Path::new(folder)).unwrap().1;
        assert_eq!(on("/opt/x"), "ext4");
        assert_eq!(on("/tmp/y"), "tmpfs");
        assert_eq!(on("/tmpfile"), "ext4");
        assert_eq!(on("/srv/a b/c"), "xfs");
        assert_eq!(find("", Path::new("/")), None);
    }

    #[test]
    fn memory_is_pointed_out() {
        let medium = Medium {
            file_system: "tmpfs".to_owned(),
            device: "tmpfs".to_owned(),
            options: "rw".to_owned(),
            memory: true,
            processors: 2,
            kernel: "6".to_owned(),
        };
        assert!(medium.line().contains("ONLY MEMORY"));
    }
}
